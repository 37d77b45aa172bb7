"""Whether a network will train, in plain words: what a diagnosis shows, where, and what helps against it."""

import dataclasses
import math
from dataclasses import dataclass

from dirac_keras.diagnostics.diagnosis import Diagnosis
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted

# Those of the networks that the thresholds come from. Others, such as sigmoid, have one pattern common to all images
# by their offset, and train.
JUDGED_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "prelu", "linear")
MILD = ("dead units",)  # a loss, which does not keep the rest of the network from learning
ENOUGH_IMAGES = 32  # to call a unit dead that is 0 for all of them


@dataclass(frozen=True)
class Thresholds:
    """Where a measurement becomes a finding. How the values were found: docs/doctor.md.

    | field | of what |
    |---|---|
    | `own_share` | share of a layer's responses that is not one pattern common to all images, `1 - leading_share` |
    | `relative_gradient` | largest gradient of any hidden kernel, relative to the kernel: at least |
    | `relative_gradient_limit` | the same, at most, in a network without normalization |
    | `gradient_growth` | largest by smallest of those |
    | `rank_per_class` | effective rank of the last hidden layer of a trained network, divided by the classes |
    | `living_units` | share of a layer's units that are above 0 for some image, behind ReLU and ReLU6 |
    """

    own_share: float = 2e-3
    relative_gradient: float = 1e-5
    relative_gradient_limit: float = 100.0
    gradient_growth: float = 6e4
    rank_per_class: float = 0.26
    living_units: float = 0.25


DEFAULT_THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a network.

    Attributes:
        name: `not finite`, `silent`, `dead units`, `one pattern`, `vanishing gradient`, `exploding gradient`,
            `uneven gradient`, `low rank` or `chance`.
        layers: tuple of names of the layers that show it, in order.
        evidence: str, what was measured.
        advice: str, what helps.
    """

    name: str
    layers: tuple
    evidence: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """What the findings come to.

    Attributes:
        will_train: bool, or None if nothing that decides it could be measured. Of a trained network: whether it has
            learned something, as far as the labels tell it, and can still learn, as it is. Dead units alone leave it
            True where the answers are better than chance, and before training; elsewhere it is None.
        summary: str, one sentence.
        findings: tuple of `Finding`; none if nothing is wrong.
        not_judged: tuple of str, the rules that had nothing to go by.
    """

    will_train: bool | None
    summary: str
    findings: tuple
    not_judged: tuple

    def to_dict(self):
        """JSON-safe dict."""
        return dataclasses.asdict(self)

    def lines(self):
        """The verdict as text: the summary, then evidence and advice of each finding."""
        not_judged = [f"- not judged: {reason}" for reason in self.not_judged]
        return [self.summary, *finding_lines(self.findings), *not_judged]


def finding_lines(findings):
    """Evidence and advice of each finding, as lines of text."""
    return [line for finding in findings for line in (f"- {finding.evidence}", f"  {finding.advice}")]


def judge(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """The verdict on a network that was measured.

    Of an untrained network measured `at_start` it says whether plain gradient descent at an ordinary rate will train
    it. Of any other it says whether the state it is in can still learn.

    Args:
        diagnosis: `Diagnosis`, with activations, spectrum, weights and gradients for all rules.
        thresholds: `Thresholds`.

    Returns: `Verdict`.
    Raises: ValueError: if `diagnosis` or `thresholds` are none.
    Source: the rules are Oyedotun et al., section V (rank-deficient activations) and Balduzzi et al. 2017 (gradients
        that grow from layer to layer under BatchNormalization); the thresholds are measured, docs/doctor.md.
    """
    if not isinstance(diagnosis, Diagnosis):
        raise UserError(f"diagnosis must be what measure() returns. Received {type(diagnosis).__name__}.")
    if not isinstance(thresholds, Thresholds):
        raise UserError(f"thresholds must be Thresholds(). Received {type(thresholds).__name__}.")
    hidden = [record for record in diagnosis.layers if not record.is_output]
    findings, not_judged = [], []
    rules = [_one_pattern, _gradient_size, _uneven_gradient] if diagnosis.at_start else [_low_rank, _chance]
    for rule in [_not_finite, _silent, _dead_units, *rules]:
        found = rule(diagnosis, hidden, thresholds)
        if isinstance(found, str):
            not_judged.append(found)
        elif found is not None:
            findings.append(found)
    if any(finding.name not in MILD for finding in findings):
        will_train = False
    elif len(not_judged) == len(rules) or (findings and not (diagnosis.at_start or _has_learned(diagnosis))):
        will_train = None
    else:
        will_train = True
    return Verdict(will_train, _summary(diagnosis, will_train, findings), tuple(findings), tuple(not_judged))


def signs(diagnosis):
    """The numbers that the verdict on an untrained network goes by, under the names of `Thresholds`.

    Args:
        diagnosis: `Diagnosis`.

    Returns: dict `own_share`, `relative_gradient`, `gradient_growth` -> float, or None where it was not measured.
    """
    hidden = [record for record in diagnosis.layers if not record.is_output]
    shares = [r for r in _with_leading_share(hidden)[-1:] if r.activation in JUDGED_ACTIVATIONS]
    gradients = [] if _waits_for_classifier(diagnosis) else [_relative(record) for record in _with_gradient(hidden)]
    growing = [value for value in gradients if value > 0]
    return {
        "own_share": 1 - shares[-1].spectrum.leading_share if shares else None,
        "relative_gradient": max(gradients) if gradients else None,
        "gradient_growth": max(growing) / min(growing) if len(growing) > 1 else None,
    }


def layer_signs(diagnosis):
    """What `signs` goes by, layer by layer.

    Args:
        diagnosis: `Diagnosis`.

    Returns: list of `(number, LayerRecord, own share, relative gradient)` of the hidden layers, numbered from 1 in the
        order of computation among all layers; None where it was not measured.
    """
    found = []
    for number, record in enumerate(diagnosis.layers, start=1):
        if not record.is_output:
            share = 1 - record.spectrum.leading_share if _with_leading_share([record]) else None
            found.append((number, record, share, _relative(record) if _with_gradient([record]) else None))
    return found


def judged_rank(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """The effective rank that a trained network's last hidden layer should have; None where it is not judged."""
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    least = thresholds.rank_per_class * classes
    return None if least <= 1 or diagnosis.samples < 2 * classes else least


def margin(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """How far the start of a network is from the nearest threshold, as a factor: below 1 it will not train.

    Args:
        diagnosis: `Diagnosis` of an untrained network.
        thresholds: `Thresholds`.

    Returns: float; 0 if responses are not finite or a layer is silent, infinite if nothing was measured.
    """
    hidden = [record for record in diagnosis.layers if not record.is_output]
    if diagnosis.first_non_finite is not None or _silent(diagnosis, hidden, thresholds) is not None:
        return 0.0
    found = {name: value for name, value in signs(diagnosis).items() if value is not None}
    factors = {name: value / getattr(thresholds, name) for name, value in found.items()}
    if "gradient_growth" in factors:
        factors["gradient_growth"] = 1 / factors["gradient_growth"]
    if "relative_gradient" in found and not diagnosis.has_normalization:
        factors["limit"] = thresholds.relative_gradient_limit / max(found["relative_gradient"], 1e-300)
    return min(factors.values(), default=math.inf)


def _summary(diagnosis, will_train, findings):
    names = [finding.name for finding in findings]
    causes = ", ".join(names)
    if will_train is None:
        return f"not in order: {causes}." if findings else "none: nothing that decides it could be measured."
    if diagnosis.at_start:
        if not will_train:
            return f"will not train: {causes}."
        return "will train, as far as its start shows" + (f", with a part of it lost: {causes}." if findings else ".")
    if not will_train:
        is_chance = not set(names) - {"chance", *MILD}  # why it learned nothing is open
        return f"has learned nothing: {causes}." if is_chance else f"cannot learn as it is: {causes}."
    return f"has learned, with a part of it lost: {causes}." if findings else "in order, as far as its responses show."


def _has_learned(diagnosis):
    return diagnosis.answers is not None and diagnosis.answers.is_chance is False


# Rules: what is wrong as a `Finding`, None if nothing is, a str if it cannot be told ---------------------------------
def _not_finite(diagnosis, hidden, thresholds):
    name = diagnosis.first_non_finite
    if name is None:
        return None
    where = "the images hold" if name == "inputs" else f"{name} is the first layer with"
    return Finding(
        "not finite",
        () if name == "inputs" else (name,),
        f"{where} NaN or infinite values.",
        "Clean the data."
        if name == "inputs"
        else "Start again with smaller kernels, a lower learning rate or float32.",
    )


def _silent(diagnosis, hidden, thresholds):
    layers = [record for record in hidden if record.spectrum is not None and record.spectrum.zero_units == 1.0]
    if not layers:
        return None
    return Finding(
        "silent",
        _names(layers),
        f"{_where(layers, hidden)}: every unit is 0 for every image, so no gradient passes.",
        _advice(diagnosis, "start again with a lower learning rate or larger kernels (he_normal)"),
    )


def _dead_units(diagnosis, hidden, thresholds):
    """Most units of a layer are 0 for every image. A silent layer is none: all are, which `_silent` tells."""
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    if diagnosis.samples < max(ENOUGH_IMAGES, 2 * classes):  # a unit may answer to images that are not among them
        return None
    layers = [record for record in hidden if 1 - thresholds.living_units < (dead_share(record) or 0) < 1]
    if not layers:
        return None
    worst = max(layers, key=dead_share)
    silent = round(dead_share(worst) * worst.units)
    return Finding(
        "dead units",
        _names(layers),
        f"{_where(layers, hidden)}: most units are 0 for every image, {silent:,} of {worst.units:,} "
        f"({dead_share(worst):.0%}) in {worst.name}: no gradient reaches them.",
        _advice(diagnosis, "start again with a lower learning rate, or with fewer units"),
    )


def dead_share(record):
    """The share of a layer's units that are 0 for every image, behind ReLU and ReLU6; None behind others."""
    return None if record.activations is None else record.activations.dead_units


def _one_pattern(diagnosis, hidden, thresholds):
    own_share = signs(diagnosis)["own_share"]
    if own_share is None:
        return "how much the responses differ from image to image (no spectrum, all are 0, or no ReLU of any kind)"
    if own_share >= thresholds.own_share:
        return None
    measured = _with_leading_share(hidden)
    layers = _from_the_end(measured, lambda record: 1 - record.spectrum.leading_share < thresholds.own_share)
    last = layers[-1].spectrum
    return Finding(
        "one pattern",
        _names(layers),
        f"{_where(layers, hidden)}: all images give the same pattern, {last.leading_share:.2%} of the last layer's "
        f"responses is a multiple of it (effective rank {last.effective_rank:.1f} of {last.units}"
        + (f", {last.collinear_pairs:.0%} of the pairs of units collinear" if last.collinear_pairs is not None else "")
        + ").",
        _advice(diagnosis, "use fewer layers"),
    )


def _gradient_size(diagnosis, hidden, thresholds):
    relative_gradient = signs(diagnosis)["relative_gradient"]
    if relative_gradient is None:
        return "the size of the gradients (none measured, or the classifier's kernel is 0 and lets none through yet)"
    measured = _with_gradient(hidden)
    largest = max(measured, key=_relative)
    if relative_gradient < thresholds.relative_gradient:
        return Finding(
            "vanishing gradient",
            _names(measured),
            f"{_where(measured, hidden)}: the gradient is at most {relative_gradient:.1g} of the kernel "
            f"({largest.name}), so a step changes next to nothing.",
            _advice(diagnosis, "start from larger kernels (he_normal)"),
        )
    if relative_gradient > thresholds.relative_gradient_limit and not diagnosis.has_normalization:
        return Finding(
            "exploding gradient",
            (largest.name,),
            f"layer {largest.name}: the gradient is {relative_gradient:.2g} times the kernel, nothing normalizes: "
            "a step throws the kernel away.",
            _advice(
                diagnosis, f"start from smaller kernels (he_normal), or at a rate near {0.1 / relative_gradient:.0e}"
            ),
        )
    return None


def _uneven_gradient(diagnosis, hidden, thresholds):
    growth = signs(diagnosis)["gradient_growth"]
    if growth is None:
        return "how the gradients grow from layer to layer (fewer than two hidden layers have one)"
    if growth <= thresholds.gradient_growth:
        return None
    measured = [record for record in _with_gradient(hidden) if _relative(record) > 0]
    largest, smallest = max(measured, key=_relative), min(measured, key=_relative)
    return Finding(
        "uneven gradient",
        (largest.name, smallest.name),
        f"the gradient, relative to the kernel, is {growth:.1g} times as large in {largest.name} as in "
        f"{smallest.name}: a rate that suits one is useless for the other.",
        _advice(diagnosis, "use fewer layers"),
    )


def _low_rank(diagnosis, hidden, thresholds):
    measured = [record for record in hidden if record.spectrum is not None]
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    if not measured or not classes:
        return "the rank of the responses (no spectrum, or no classifier)"
    least = judged_rank(diagnosis, thresholds)
    if least is None:
        return f"the rank of the responses ({classes} classes, {diagnosis.samples} images: too few to tell)"
    if measured[-1].spectrum.units <= least or measured[-1].spectrum.effective_rank >= least:
        return None
    layers = _from_the_end(measured, lambda record: record.spectrum.effective_rank < least)
    last = measured[-1].spectrum
    above = _units_above(layers[-1])
    return Finding(
        "low rank",
        _names(layers),
        f"{_where(layers, hidden)}: {above}rank {last.rank} of {last.units}, effective rank "
        f"{last.effective_rank:.1f}: too few patterns to tell {classes} classes apart.",
        _advice(diagnosis, "use fewer layers"),
    )


def _chance(diagnosis, hidden, thresholds):
    """The answers are no better than naming one class always."""
    answers = diagnosis.answers
    if answers is None:
        return "whether it has learned anything (no class numbers beside the images, or no outputs for them)"
    if answers.is_chance is None:
        images = counted(answers.samples, "image")
        return f"whether it has learned anything ({images} of {counted(answers.classes, 'class', 'classes')}: too few)"
    if not answers.is_chance:
        return None
    return Finding(
        "chance",
        (),
        f"it names {answers.accuracy:.1%} of {answers.samples:,} images right, no more than chance: always naming the "
        f"most frequent class gets {answers.most_frequent:.1%}, and {answers.accuracy_of_chance:.1%} would tell.",
        "Untrained: judge its start (`at_start`, `--init`). Better elsewhere: the images are prepared "
        "differently there, or the classes are in another order. Else train it longer or at another learning rate.",
    )


# Words ----------------------------------------------------------------------------------------------------
def _units_above(record):
    if record.activations is None or not record.activations.units_above:
        return ""
    threshold, share = next(iter(record.activations.units_above.items()))
    return f"{1 - share:.0%} of units below {threshold}, "


def _waits_for_classifier(diagnosis):
    """Whether no gradient passes a classifier that starts at 0: the first step changes that."""
    classifiers = [r.gradients for r in diagnosis.layers if r.is_output and r.gradients is not None]
    return any(g.relative_kernel_gradient is None and g.kernel_gradient_norm > 0 for g in classifiers)


def _with_gradient(records):
    return [r for r in records if r.gradients is not None and r.gradients.relative_kernel_gradient is not None]


def _with_leading_share(records):
    return [r for r in records if r.spectrum is not None and r.spectrum.leading_share is not None]


def _relative(record):
    value = record.gradients.relative_kernel_gradient
    return value if math.isfinite(value) else math.inf


def _from_the_end(records, test):
    """The records at the end that all pass a test."""
    count = next((k for k, record in enumerate(reversed(records)) if not test(record)), len(records))
    return records[len(records) - count :]


def _names(records):
    return tuple(record.name for record in records)


def _where(records, hidden):
    if len(records) == 1:
        return f"layer {records[0].name}"
    return f"layers {records[0].name} to {records[-1].name} ({len(records)} of {len(hidden)})"


def _advice(diagnosis, otherwise):
    """What the networks that do train have and this one lacks."""
    hidden = [record for record in diagnosis.layers if not record.is_output]
    missing = []
    if not diagnosis.has_normalization:
        missing.append("BatchNormalization after each kernel")
    if any(record.activation == "relu" for record in hidden):
        missing.append("LeakyReLU(0.3) in place of ReLU")
    if all(record.max_norm is None for record in hidden):
        missing.append("the constraint dirac_keras.constraints.MaxNorm(3)")
    is_dirac = any(record.scales is not None for record in hidden)
    parts = []
    if missing:
        parts.append("Add " + (", ".join(missing[:-1]) + " and " if missing[:-1] else "") + missing[-1])
    if not is_dirac:
        parts.append(("or" if parts else "Use") + " Dirac kernels (DiracConv2D, DiracDense)")
    if not parts:
        return f"{otherwise[0].upper()}{otherwise[1:]}."
    return f"{', '.join(parts)}. Or {otherwise}."
