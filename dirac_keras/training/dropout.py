"""Dropout before the layer of the classes: Keras' layer, whose masks are those of the seed."""

import keras

from dirac_keras.errors import UserError

HEAD, NAME = "head_dense", "head_dropout"


def with_dropout(network, rate, seed):
    """A classifier that loses a share of the features in front of its last layer, at each step of a training.

    Args:
        network: functional `keras.Model` whose outputs are those of its layer `head_dense`.
        rate: number in [0, 1), the share; what is left is scaled up by `1 / (1 - rate)`.
        seed: int, of the masks.

    Returns: `keras.Model`; of the same weights, and at inference the same outputs.
    Raises: UserError: if the network does not end with that layer.
    Source: Srivastava et al. 2014, JMLR 15, section 4; before the classifier as in arXiv:1905.11946, section 5.
    """
    head = next((layer for layer in network.layers if layer.name == HEAD), None)
    if head is None or network.outputs[0] is not head.output:
        raise UserError(
            f"dropout comes before the layer {HEAD}, with which '{network.name}' does not end. "
            f"Received dropout={rate:g}: leave it out."
        )
    features = keras.layers.Dropout(rate, seed=seed % 2**32, name=NAME, dtype=head.dtype_policy)(head.input)
    classifier = type(head).from_config(head.get_config())
    outputs = classifier(features)
    classifier.set_weights(head.get_weights())
    return keras.Model(network.input, outputs, name=network.name)
