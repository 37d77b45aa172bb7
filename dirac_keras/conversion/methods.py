"""`plainify(model)`: a residual network as a plain chain."""

import keras
import numpy as np

from dirac_keras.conversion.certificate import Certificate
from dirac_keras.conversion.exact import make_plain
from dirac_keras.conversion.network import Network
from dirac_keras.errors import RunError, UserError
from dirac_keras.folding import assert_plain, fold
from dirac_keras.folding.sample import take_sample
from dirac_keras.folding.verify import compare
from dirac_keras.graph.costs import count_costs
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.memory import peak_activations

METHODS = ("exact",)


def plainify(model, method="exact", grouped=True, verify=True, data=None):
    """Makes a plain chain of a residual network.

    `"exact"` folds the network, then carries the tensor of each skip connection through the branch beside it, by
    filters that are the identity, and adds it in the branch's last convolution ("reserve and merge"). The outputs are
    those of the original, up to the rounding of floats. It needs an activation in the branch that lets the carried
    channels through: where they are known not to be negative, as behind a ReLU, ReLU lets them pass; where they are
    known to lie between bounds, as behind ReLU6, they are scaled into those of the activation; else each goes through
    ReLU as the pair `max(x, 0)`, `max(-x, 0)`.

    Args:
        model: built Functional or Sequential `keras.Model`. It is not changed.
        method: `"exact"`.
        grouped: bool, whether a convolution between two others gets groups, one for its own channels and others for
            those carried, where the sizes allow it. False makes it dense, as in the paper, with far more weights.
        verify: bool, whether to run both models on random inputs and compare.
        data: None, or pairs `(inputs, labels)` in batches, labels as class numbers, to measure the accuracy of both.

    Returns: `(plain, Certificate)`; the plain model is uncompiled and consists of Keras' own layers.
    Raises:
        ValueError: if the model has no graph of layers or weights that are not finite, the method is unknown, or a
            skip connection cannot be made plain; every one is named with the reason.
        RunError: if the plain model is found to differ beyond rounding.
    Source: Meng et al. 2021, RMNet, arXiv:2111.00687.

    Example:
    >>> plain, certificate = plainify(keras.applications.ResNet50(weights=None))
    >>> print(certificate)
    """
    if method not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}. Received method={method!r}.")
    check_has_graph(model)
    if found := nonfinite_weights(model):
        raise UserError(
            f"model must have finite weights. Received model '{model.name}' with weights or statistics that are not: "
            f"{describe_nonfinite(found)}."
        )
    folded, report = fold(model, verify=False)
    network = Network(folded)
    skips, reasons = make_plain(network, grouped)
    if reasons:
        said = "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
        raise UserError(
            f"model cannot be made plain by method='exact'. Received model '{model.name}', in which {len(reasons)} of "
            f"{len(reasons) + len(skips)} joins stay: {said}."
        )
    plain, _ = fold(network.build(), verify=False)  # a normalization behind a join goes into what took it in
    _check_plain(model, plain)
    return plain, _certificate(model, folded, plain, report, network, skips, method, verify, data)


def _check_plain(model, plain):
    try:
        assert_plain(plain)
    except AssertionError as error:
        raise UserError(
            f"model cannot be made plain by method='exact'. Received model '{model.name}': {error}"
        ) from None


def _certificate(model, folded, plain, report, network, skips, method, verify, data):
    comparison = {}
    if verify:
        try:
            comparison = compare(take_sample(model), model, plain)
        except RunError as error:
            raise RunError(
                str(error).replace("fold(model, verify", "plainify(model, verify").replace("fold made", "plainify made")
            ) from error
    accuracies = {}
    if data is not None:
        before, after, images = _accuracies((model, plain), data)
        accuracies = {"accuracy_before": before, "accuracy_after": after, "images": images}
    return Certificate(
        model=model.name,
        method=method,
        skips=tuple(skips),
        merged=report.folded,
        left_out=tuple(network.left_out),
        parameters_before=model.count_params(),
        parameters_after=plain.count_params(),
        macs_before=_macs(model),
        macs_after=_macs(plain),
        activations_before=peak_activations(folded),
        activations_after=peak_activations(plain),
        **comparison,
        **accuracies,
    )


def _macs(model):
    costs = count_costs(model)
    return None if costs.uncounted else costs.total


def _accuracies(models, data):
    """Accuracy of each model and the number of samples."""
    right, count = np.zeros(len(models)), 0
    for inputs, labels in data:
        labels = np.asarray(labels).reshape(-1)
        count += len(labels)
        for place, model in enumerate(models):
            outputs = keras.ops.convert_to_numpy(model.predict_on_batch(inputs))
            right[place] += np.sum(outputs.argmax(axis=-1).reshape(-1) == labels)
    if not count:
        raise UserError("data must hold samples. Received data without any.")
    return (*(right / count).tolist(), count)
