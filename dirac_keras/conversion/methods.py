"""`plainify(model)`: a residual network as a plain chain."""

import dataclasses
import logging

from dirac_keras.conversion.batches import Batches, accuracy_of
from dirac_keras.conversion.certificate import Certificate
from dirac_keras.conversion.exact import make_plain
from dirac_keras.conversion.measuring import latencies, macs
from dirac_keras.conversion.network import Network
from dirac_keras.conversion.settings import Teaching, check_teaching, is_count, with_rate
from dirac_keras.conversion.teaching import teach
from dirac_keras.conversion.twins import fading, twin
from dirac_keras.errors import RunError, UserError, check_choice
from dirac_keras.files.amounts import counted
from dirac_keras.folding import assert_plain, fold
from dirac_keras.folding.inventory import normalizations_inside
from dirac_keras.folding.sample import take_sample
from dirac_keras.folding.verify import compare
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.memory import peak_activations
from dirac_keras.listing import by_reason, quoted
from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out import SkipPhaseOut

logger = logging.getLogger("dirac_keras")
_WEAK = 0.5  # of the training samples: a teacher below misleads more than it tells
_WORDS = (  # of an error of `fold`, which compares
    ("fold made", "plainify made"),
    ("the folded model", "the plain model"),
    ("folded weights leave", "its weights leave"),
    ("Fold the model in", "Make plain a copy of the model in"),
    ("fold(model, verify=False) returns the folded one", "plainify(model, verify=False) returns the plain one"),
)
METHODS = ("exact", "phase_out", "retrain")


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
        data: None, or pairs `(inputs, labels)` in batches, labels as class numbers, to measure the accuracy of both; a
            list, a `tf.data.Dataset` or another object that can be iterated anew.
        train: such pairs to train on, gone through once an epoch, for "phase_out" and "retrain"; None for "exact".
        teaching: `Teaching`, how they train; None: its defaults, and for "exact".

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
    check_choice("method", method, METHODS)
    check_has_graph(model)
    if found := nonfinite_weights(model):
        raise UserError(
            f"model must have finite weights. Received model '{model.name}' with weights or statistics that are not: "
            f"{describe_nonfinite(found)}."
        )
    if (train is None) != (method == "exact"):
        needs = "must be None for" if method == "exact" else "must be batches of (inputs, labels) for"
        raise UserError(f"train {needs} method={method!r}. Received train={'None' if train is None else 'data'}.")
    check_teaching(teaching)
    _refuse_without_effect(method, grouped, teaching)
    if not is_count(rounds) or rounds < 0:
        raise UserError(f"rounds must be a whole number of 0 or more. Received rounds={rounds!r}.")
    measured = {}
    if data is not None:  # before the work, so that what is wrong with it costs none
        data = Batches(data, "data")
        measured["accuracy_before"], measured["images"] = accuracy_of(model, data)
    if method == "exact":
        plain, certificate = _exact(model, grouped, verify)
    else:
        plain, certificate = _trained(model, method, Batches(train, "train"), teaching or Teaching())
    if data is not None:
        measured["accuracy_after"], _ = accuracy_of(plain, data)
    return plain, dataclasses.replace(certificate, **measured, **latencies(model, plain, rounds))


def _refuse_without_effect(method, grouped, teaching):
    if method == "exact" and teaching is not None:
        raise UserError("teaching has an effect only with method='phase_out' or 'retrain'. Received it with 'exact'.")
    if method != "exact" and not grouped:
        raise UserError(f"grouped has an effect only with method='exact'. Received grouped=False with {method!r}.")
    if method == "retrain" and teaching is not None and teaching.features:
        raise UserError(
            "teaching.features has an effect only with method='phase_out', whose student has the same layers. Received "
            f"features={teaching.features!r} with 'retrain'."
        )


def _exact(model, grouped, verify):
    folded, report = fold(model, verify=False)
    network, plain, skips = _made_plain(model, folded, grouped)
    comparison = {}
    if verify:
        try:
            comparison = _compared(model, plain)
        except RunError as error:
            if not any("shifted" in skip.how for skip in skips):
                raise
            network, plain, skips = _made_plain(model, folded, grouped, in_pairs=True)
            try:
                comparison = _compared(model, plain)
            except RunError:
                raise error from None
    if report.shared:
        names = quoted([entry.layer for entry in report.shared])
        said = f"the layers {names} stand in the original too, as no equal copy of them can be made"
        comparison["note"] = "; ".join(filter(None, [comparison.get("note"), said]))
    return plain, _certificate(model, folded, plain, "exact", skips, report.folded, network.left_out, comparison)


def _made_plain(model, folded, grouped, in_pairs=False):
    network = Network(folded, of=model)
    skips, reasons = make_plain(network, grouped, in_pairs)
    _refuse(model, "exact", skips, reasons)
    plain = network.build()
    if normalizations_inside(plain):  # one behind a join goes into what took it in
        plain, _ = fold(plain, verify=False)
    _check_plain(model, plain, "exact")
    return network, plain, skips


def _trained(model, method, train, teaching):
    student, skips, reasons = (fading if method == "phase_out" else twin)(model)
    _refuse(model, method, skips, reasons)
    callbacks = []
    if method == "phase_out" and skips:
        end = max(1, round(teaching.end * teaching.epochs))
        callbacks.append(SkipPhaseOut(fraction=FRACTIONS["conv"], end_epoch=end))
    teacher = model if teaching.teacher else None
    loss, share = teach(student, teacher, train, _paced(teaching, method, student), callbacks)
    plain, report = fold(student)
    left = [entry.reason for entry in report.kept if "skip is still there" in entry.reason]
    if left:
        raise RunError(
            f"{len(left)} of {counted(len(skips), 'skip')} of '{model.name}' are still there after "
            f"{counted(teaching.epochs, 'epoch')}: "
            f"{left[0]}. Train for more epochs, or let them end earlier: `Teaching(end={teaching.end / 2:g})`."
        )
    _check_plain(model, plain, method)
    folded, _ = fold(model, verify=False)
    note = (
        f"trained for {counted(teaching.epochs, 'epoch')}, the last one's loss {loss:.4g}: its outputs are not the "
        "original's"
    )
    if share is not None:
        note += f"; the original, its teacher, names {share:.1%} of the training samples rightly"
        if share < _WEAK:
            logger.warning(
                "the original names %.1f %% of the training samples rightly, and teaches that. Train it longer, or "
                "learn from the labels alone: `Teaching(teacher=False)`.",
                100 * share,
            )
    return plain, _certificate(model, folded, plain, method, skips, report.folded, [], {"note": note})


def _paced(teaching, method, student):
    """With the rate of the method: one from random kernels is that of a short training from the start."""
    if method != "retrain":
        return with_rate(teaching)
    return with_rate(
        teaching, warmup_fraction=0.25, **({"learning_rate": 0.3} if normalizations_inside(student) else {})
    )


def _refuse(model, method, skips, reasons):
    if reasons:
        way_out = ""
        if method == "exact" and _can_be_trained(model):
            way_out = (
                ' A network without these skips can be trained from it: `method="phase_out"` or `method="retrain"`.'
            )
        raise UserError(
            f"model cannot be made plain by method='{method}'. Received model '{model.name}', in which {len(reasons)} "
            f"of {len(reasons) + len(skips)} joins stay: {by_reason(reasons)}.{way_out}"
        )


def _can_be_trained(model):
    """Whether every join is a skip that training can take out."""
    try:
        _, _, reasons = fading(model)
    except UserError:
        return False
    return not reasons


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
        said = str(error)
        for of_fold, ours in _WORDS:
            said = said.replace(of_fold, ours)
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
        macs_before=macs(model),
        macs_after=macs(plain),
        activations_before=peak_activations(folded),
        activations_after=peak_activations(plain),
        **comparison,
    )
