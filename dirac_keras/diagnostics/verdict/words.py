"""A finding, and what its sentences have in common."""

from dataclasses import dataclass


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


def finding_lines(findings):
    """Evidence and advice of each finding, as lines of text."""
    return [line for finding in findings for line in (f"- {finding.evidence}", f"  {finding.advice}")]


def names(records):
    return tuple(record.name for record in records)


def where(records, hidden):
    if len(records) == 1:
        return f"layer {records[0].name}"
    return f"layers {records[0].name} to {records[-1].name} ({len(records)} of {len(hidden)})"


def advice(diagnosis, otherwise):
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
