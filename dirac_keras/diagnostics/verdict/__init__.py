"""Whether a network will train: rules with measured thresholds, on what `measure` gives."""

from dirac_keras.diagnostics.verdict.judging import Verdict, judge, margin
from dirac_keras.diagnostics.verdict.signs import dead_share, judged_rank, layer_signs, signs, starts_at_zero
from dirac_keras.diagnostics.verdict.thresholds import DEFAULT_THRESHOLDS, Thresholds
from dirac_keras.diagnostics.verdict.words import Finding, finding_lines

__all__ = [
    "DEFAULT_THRESHOLDS",
    "Finding",
    "Thresholds",
    "Verdict",
    "dead_share",
    "finding_lines",
    "judge",
    "judged_rank",
    "layer_signs",
    "margin",
    "signs",
    "starts_at_zero",
]
