"""`plainify(model)`: a residual network as a plain chain."""

import dataclasses
import statistics
import time

import keras
import numpy as np

from dirac_keras.conversion.certificate import Certificate
from dirac_keras.conversion.exact import make_plain
from dirac_keras.conversion.network import Network
from dirac_keras.conversion.teaching import teach
from dirac_keras.conversion.twins import fading, twin
from dirac_keras.errors import RunError, UserError
from dirac_keras.folding import assert_plain, fold
from dirac_keras.folding.inventory import normalizations_inside
from dirac_keras.folding.sample import take_sample
from dirac_keras.folding.verify import compare
from dirac_keras.graph.costs import count_costs
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.memory import peak_activations
from dirac_keras.graph.samples import random_inputs
from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out import SkipPhaseOut

METHODS = ("exact", "phase_out", "retrain")


@dataclasses.dataclass(frozen=True)
class Teaching:
    """How `plainify` trains, where it does.

    Attributes:
        epochs: int.
        learning_rate: number, of SGD with momentum 0.9, which falls to zero by a cosine.
        teacher: bool, whether the original teaches; else the labels alone do.
        weight: number in [0, 1], the teacher's part in the loss.
        temperature: number above 0, that softens the answers of both in that part.
        end: number in (0, 1], share of the epochs after which the skips are gone, of "phase_out".
    """

    epochs: int = 10
    learning_rate: float = 0.05
    teacher: bool = True
    weight: float = 0.5
    temperature: float = 4.0
    end: float = 0.5

    def __post_init__(self):
        is_count = isinstance(self.epochs, int) and not isinstance(self.epochs, bool)
        if not is_count or self.epochs < 1:
            raise UserError(f"epochs must be a whole number above 0. Received epochs={self.epochs!r}.")
        for name, highest in (("learning_rate", np.inf), ("temperature", np.inf), ("end", 1.0)):
            value = getattr(self, name)
            if not 0.0 < value <= highest or value == np.inf:
                raise UserError(f"{name} must be a finite number above 0 and at most {highest}. Received {value!r}.")
        if not 0.0 <= self.weight <= 1.0:
            raise UserError(f"weight must be a number from 0 to 1. Received weight={self.weight!r}.")


def plainify(model, method="exact", grouped=True, verify=True, rounds=5, data=None, train=None, teaching=None):
    """Makes a plain chain of a residual network, in one of three ways.

    `"exact"` folds the network, then carries the tensor of each skip connection through the branch beside it, by
    filters that are the identity, and adds it in the branch's last convolution ("reserve and merge"). The outputs are
    those of the original, up to the rounding of floats. It needs an activation in the branch that lets the carried
    channels through: where they are known not to be negative, as behind a ReLU, ReLU lets them pass; where they are
    known to lie between bounds, as behind ReLU6, they are scaled into those of the activation; else each goes through
    ReLU as the pair `max(x, 0)`, `max(-x, 0)`.

    `"phase_out"` trains a copy in which multipliers take each skip from 1 to 0, as `SkipPhaseOut` does, with the
    original as the teacher. `"retrain"` trains the twin without skips from the start, with Dirac kernels where inputs
    and outputs are as many. Both give a network of the size of the original, and other outputs.

    Args:
        model: built Functional or Sequential `keras.Model`. It is not changed.
        method: `"exact"`, `"phase_out"` or `"retrain"`.
        grouped: bool, whether a convolution between two others gets groups, one for its own channels and others for
            those carried, where the sizes allow it. False makes it dense, as in the paper, with far more weights.
            Of "exact".
        verify: bool, whether to run both models on random inputs and compare. Of "exact".
        rounds: int, how often the latency of both is measured for the certificate; 0: not at all.
        data: None, or pairs `(inputs, labels)` in batches, labels as class numbers, to measure the accuracy of both.
        train: such pairs to train on, gone through once an epoch, for "phase_out" and "retrain"; None for "exact".
        teaching: `Teaching`, how they train; None: its defaults.

    Returns: `(plain, Certificate)`; the plain model is uncompiled and consists of Keras' own layers.
    Raises:
        ValueError: if the model has no graph of layers or weights that are not finite, the method is unknown, or a
            skip connection cannot be made plain; every one is named with the reason.
        RunError: if the plain model is found to differ beyond rounding, the training diverges, or a skip is still
            there at its end.
    Source: Meng et al. 2021, RMNet, arXiv:2111.00687; Monti, Tootoonian & Cao (VAN), for "phase_out"; Hinton, Vinyals
        & Dean 2015, arXiv:1503.02531, for the teacher.

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
    if (train is None) != (method == "exact"):
        needs = "must be None for" if method == "exact" else "must be batches of (inputs, labels) for"
        raise UserError(f"train {needs} method={method!r}. Received train={'None' if train is None else 'data'}.")
    if method == "exact":
        plain, certificate = _exact(model, grouped, verify)
    else:
        plain, certificate = _trained(model, method, train, teaching or Teaching())
    return plain, dataclasses.replace(certificate, **_measured(model, plain, rounds, data))


def _exact(model, grouped, verify):
    folded, report = fold(model, verify=False)
    network = Network(folded)
    skips, reasons = make_plain(network, grouped)
    _refuse(model, "exact", skips, reasons)
    plain = network.build()
    if normalizations_inside(plain):  # one behind a join goes into what took it in
        plain, _ = fold(plain, verify=False)
    _check_plain(model, plain, "exact")
    comparison = _compared(model, plain) if verify else {}
    if report.shared:
        names = ", ".join(f"'{entry.layer}'" for entry in report.shared)
        said = f"the layers {names} stand in the original too, as no equal copy of them can be made"
        comparison["note"] = "; ".join(filter(None, [comparison.get("note"), said]))
    return plain, _certificate(model, folded, plain, "exact", skips, report.folded, network.left_out, comparison)


def _trained(model, method, train, teaching):
    student, skips, reasons = (fading if method == "phase_out" else twin)(model)
    _refuse(model, method, skips, reasons)
    callbacks = []
    if method == "phase_out" and skips:
        end = max(1, round(teaching.end * teaching.epochs))
        callbacks.append(SkipPhaseOut(fraction=FRACTIONS["conv"], end_epoch=end))
    teacher = model if teaching.teacher else None
    loss = teach(
        *(student, teacher, train, teaching.epochs, teaching.learning_rate, teaching.weight, teaching.temperature),
        callbacks,
    )
    plain, report = fold(student)
    left = [entry.reason for entry in report.kept if "skip is still there" in entry.reason]
    if left:
        raise RunError(
            f"{len(left)} of {len(skips)} skips of '{model.name}' are still there after {teaching.epochs} epochs: "
            f"{left[0]}. Train for more epochs, or let them end earlier (`end`, now {teaching.end:g})."
        )
    _check_plain(model, plain, method)
    folded, _ = fold(model, verify=False)
    note = f"trained for {teaching.epochs} epochs, the last one's loss {loss:.4g}: its outputs are not the original's"
    return plain, _certificate(model, folded, plain, method, skips, report.folded, [], {"note": note})


def _refuse(model, method, skips, reasons):
    if reasons:
        said = "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
        raise UserError(
            f"model cannot be made plain by method='{method}'. Received model '{model.name}', in which {len(reasons)} "
            f"of {len(reasons) + len(skips)} joins stay: {said}."
        )


def _check_plain(model, plain, method):
    try:
        assert_plain(plain)
    except AssertionError as error:
        said = f"model cannot be made plain by method='{method}'. Received model '{model.name}': {error}"
        raise UserError(said) from None


def _compared(model, plain):
    try:
        return compare(take_sample(model), model, plain)
    except RunError as error:
        said = str(error).replace("fold made", "plainify made").replace("fold(model", "plainify(model")
        raise RunError(said) from error


def _certificate(model, folded, plain, method, skips, merged, left_out, comparison):
    return Certificate(
        model=model.name,
        method=method,
        skips=tuple(skips),
        merged=tuple(merged),
        left_out=tuple(left_out),
        parameters_before=model.count_params(),
        parameters_after=plain.count_params(),
        macs_before=_macs(model),
        macs_after=_macs(plain),
        activations_before=peak_activations(folded),
        activations_after=peak_activations(plain),
        **comparison,
    )


def _measured(model, plain, rounds, data):
    """What running both shows: latencies and accuracies."""
    found = {}
    if rounds and all(None not in tensor.shape[1:] for tensor in model.inputs):
        folded, _ = fold(model, verify=False)
        found["latency_before"], found["latency_after"] = _latencies((folded, plain), rounds)
    if data is not None:
        before, after, images = _accuracies((model, plain), data)
        found |= {"accuracy_before": before, "accuracy_after": after, "images": images}
    return found


def _latencies(models, rounds):
    """Median seconds of a call of each model on one sample, in turn."""
    inputs = random_inputs(models[0], [(1, *tensor.shape[1:]) for tensor in models[0].inputs])
    seconds = [[] for _ in models]
    for place in range(rounds + 1):
        for model, values in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model.predict_on_batch(inputs)
            if place:  # the first call compiles
                values.append(time.perf_counter() - start)
    return [statistics.median(values) for values in seconds]


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
