"""`IdentityDecay`: the callback that lets the identity of Dirac filters decay, as weight decay does kernels."""

import keras
from keras import ops

from dirac_keras.phase_out.identity import mean_ratio, require_identities
from dirac_keras.phase_out.residual import check_number


class IdentityDecay(keras.callbacks.Callback):
    """Adds `weight * a` to the gradient of `a` of the Dirac layers while a network trains: coupled L2.

    The paper regularizes neither a nor b. A filter `a I + b W_norm` then keeps its identity where the cost has no use
    for another size, and behind a BatchNormalization a and b alone have no size that counts, only their ratio. A little
    decay of a makes it smaller where the network does without, and leaves it where it is needed; so int8 has more of
    the learned taps (docs/diracnets.md). It is in the compiled step, by the gradient alone: the reported loss is the
    cost.

    The logs of each epoch get `identity_ratio`, the mean over all filters of `|a| / |b|`. List the callbacks that write
    logs behind it.

    Args:
        weight: number of 0 or more.

    Raises: ValueError: if `weight` is out of range, and from `fit` if the model has no trainable Dirac layer with an
        `identity_scale`.
    Source: ours; the filters are those of Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 4 and 5.
    """

    def __init__(self, weight):
        super().__init__()
        check_number("weight", weight)
        self.weight = weight

    def on_train_begin(self, logs=None):
        layers = require_identities(self.model)
        self._own = [(layer, layer.identity_scale.regularizer) for layer in layers]
        for layer, own in self._own:
            layer.identity_scale.regularizer = _Decay(self.weight, own)
        self.model.make_train_function(force=True)  # one traced before knows no decay

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["identity_ratio"] = mean_ratio(require_identities(self.model))  # on JAX `self.model` is up to date

    def on_train_end(self, logs=None):
        for layer, own in self._own:
            layer.identity_scale.regularizer = own
        self.model.make_train_function(force=True)


class _Decay(keras.regularizers.Regularizer):
    """The gradient `weight * w`, beside the weight's own regularizer; part of no file."""

    def __init__(self, weight, own):
        self.weight, self.own = weight, own

    def __call__(self, scale):
        scale = ops.convert_to_tensor(scale)
        there = ops.stop_gradient(scale)
        term = ops.cast(self.weight * ops.sum(there * (scale - there)), keras.backend.floatx())  # as Keras' sum wants
        return term if self.own is None else term + self.own(scale)
