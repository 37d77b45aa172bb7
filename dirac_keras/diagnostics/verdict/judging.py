"""Whether a network will train, in plain words: what a diagnosis shows, where, and what helps against it."""

import dataclasses
import math
from dataclasses import dataclass

from dirac_keras.diagnostics.diagnosis import Diagnosis
from dirac_keras.diagnostics.verdict.rules import (
    chance,
    dead_units,
    gradient_size,
    low_rank,
    not_finite,
    one_pattern,
    silent,
    uneven_gradient,
    without_gradient,
)
from dirac_keras.diagnostics.verdict.signs import signs
from dirac_keras.diagnostics.verdict.thresholds import DEFAULT_THRESHOLDS, Thresholds
from dirac_keras.diagnostics.verdict.words import finding_lines
from dirac_keras.errors import UserError

# What keeps no network from learning by itself: a part is lost, or the patterns are few, and the rest may do.
MILD = ("dead units", "low rank")
LOST = ("dead units", "silent")  # findings that are of a part, which the rest works around


@dataclass(frozen=True)
class Verdict:
    """What the findings come to.

    Attributes:
        will_train: bool, or None if nothing that decides it could be measured. Of a trained network: whether it has
            learned something, as far as the labels tell it, and can still learn, as it is. Answers better than chance
            say so: only what is not finite stands against them. Dead units or a low rank leave it None where nothing
            tells what the network answers, and dead units leave it True before training.
        summary: str, one sentence.
        findings: tuple of `Finding`; none if nothing is wrong.
        not_judged: tuple of str, the rules that had nothing to go by, and the layers without a gradient in the first
            step.
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


def judge(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """The verdict on a network that was measured.

    Of an untrained network measured `at_start` it says whether plain gradient descent at an ordinary rate will train
    it. Of any other it says whether it has learned, and whether the state it is in can still learn.

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
    rules = [one_pattern, gradient_size, uneven_gradient] if diagnosis.at_start else [low_rank, chance]
    for rule in [not_finite, silent, dead_units, *rules]:
        found = rule(diagnosis, hidden, thresholds)
        if isinstance(found, str):
            not_judged.append(found)
        elif found is not None:
            findings.append(found)
    has_nothing = len(not_judged) == len(rules)
    if resting := without_gradient(diagnosis, hidden, thresholds):
        not_judged.append(resting)
    has_learned = not diagnosis.at_start and _has_learned(diagnosis)
    # In a network that answers well a silent layer is a branch, which others work around.
    mild = (*MILD, *LOST) if has_learned else MILD
    if any(finding.name not in mild for finding in findings):
        will_train = False
    elif has_nothing or (findings and not (diagnosis.at_start or has_learned)):
        will_train = None
    else:
        will_train = True
    return Verdict(will_train, _summary(diagnosis, will_train, findings), tuple(findings), tuple(not_judged))


def margin(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """How far the start of a network is from the nearest threshold, as a factor: below 1 it will not train.

    Args:
        diagnosis: `Diagnosis` of an untrained network.
        thresholds: `Thresholds`.

    Returns: float; 0 if responses are not finite or a layer is silent, infinite if nothing was measured.
    """
    hidden = [record for record in diagnosis.layers if not record.is_output]
    if diagnosis.first_non_finite is not None or silent(diagnosis, hidden, thresholds) is not None:
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
        is_chance = set(names) <= {"chance", "dead units"}  # why it learned nothing is open
        return f"has learned nothing: {causes}." if is_chance else f"cannot learn as it is: {causes}."
    if not findings:
        return "in order, as far as its responses show."
    return f"has learned, {'with a part of it lost' if set(names) <= set(LOST) else 'but is not in order'}: {causes}."


def _has_learned(diagnosis):
    return diagnosis.answers is not None and diagnosis.answers.is_chance is False
