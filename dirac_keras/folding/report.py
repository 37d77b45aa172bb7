"""What `fold` did, as data and as text."""

from dataclasses import asdict, dataclass

from dirac_keras.brief import brief
from dirac_keras.listing import kinds_of, listed


@dataclass(frozen=True)
class FoldedLayer:
    """One layer that changed. `layer` has the names of the models around it: `backbone/conv1`."""

    layer: str
    action: str


@dataclass(frozen=True)
class KeptLayer:
    """One layer that stayed although folding looks for its type, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class SharedLayer:
    """One layer object that stands in both models, since no equal copy of it can be made, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class DroppedPart:
    """A part of one layer, such as a constraint, that was for its training alone and is not in the folded model."""

    layer: str
    part: str


@brief
@dataclass(frozen=True)
class FoldReport:
    """What folded, what did not and why, and how close the folded model is.

    Args:
        folded: tuple of `FoldedLayer`.
        kept: tuple of `KeptLayer`, every BatchNormalization that is left among them.
        shared: tuple of `SharedLayer`.
        dropped: tuple of `DroppedPart`.
        normalizations_before, normalizations_after: int, BatchNormalization layers, those inside other layers too.
        parameters_before, parameters_after: int.
        macs_before, macs_after: int, multiply-accumulates of one sample; None if a size shows in a run only.
        uncounted: tuple of str, layers whose multiply-accumulates are not known, or not all of them.
        max_abs_difference: float, over all outputs on random inputs; None if not verified.
        max_relative_difference: float, relative to each output's largest value; None if not verified.
        argmax_agreement: float, share of positions with the same largest output; None where there is none.
        note: str, why verification says less than usual; empty if it does not.
    """

    folded: tuple
    kept: tuple
    shared: tuple
    normalizations_before: int
    normalizations_after: int
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    uncounted: tuple = ()
    dropped: tuple = ()
    max_abs_difference: float | None = None
    max_relative_difference: float | None = None
    argmax_agreement: float | None = None
    note: str = ""

    def to_dict(self):
        """The report as plain lists, dicts and numbers, for JSON."""
        report = asdict(self)
        return {**report, **{name: list(report[name]) for name in ("folded", "kept", "shared", "uncounted", "dropped")}}

    def _without(self):
        return f", without {len(self.uncounted)} layers whose code tells none" if self.uncounted else ""

    def __str__(self):
        numbers = [
            ("BatchNormalization", f"{self.normalizations_before} -> {self.normalizations_after}"),
            ("parameters", f"{self.parameters_before:,} -> {self.parameters_after:,}"),
            ("multiply-accumulates", f"{_count(self.macs_before)} -> {_count(self.macs_after)}{self._without()}"),
            ("max abs difference", _number(self.max_abs_difference)),
            ("max relative difference", _number(self.max_relative_difference)),
            ("argmax agreement", "-" if self.argmax_agreement is None else f"{self.argmax_agreement:.2%}"),
        ]
        lines = [f"folded {len(self.folded)}, kept {len(self.kept)}"]
        lines += _aligned(numbers)
        if self.note:
            lines.append(f"  note: {self.note}")
        if self.folded:
            lines += ["folded:", *_aligned([(entry.layer, entry.action) for entry in self.folded])]
        if self.kept:
            lines += ["kept:", *_by_kind(self.kept)]
        if self.shared:
            lines += ["shared with the original, which changes when these are trained:", *_by_kind(self.shared)]
        if self.dropped:
            lines += ["not in the folded model, for training alone:", *self._dropped_lines()]
        return "\n".join(lines)

    def _dropped_lines(self):
        """A line for each kind of part: a hundred layers have the same."""
        layers = {}
        for entry in self.dropped:
            layers.setdefault(entry.part, []).append(entry.layer)
        return _aligned([(part, listed(names)) for part, names in layers.items()])


def _by_kind(entries):
    """A line for each kind of reason, that of its first layer: a network may have a hundred of one."""
    kinds = kinds_of((entry.layer, entry.reason) for entry in entries)
    return _aligned([(listed([name for name, _ in pairs], 1), pairs[0][1]) for pairs in kinds])


def _count(value):
    return "unknown" if value is None else f"{value:,}"


def _number(value):
    return "not verified" if value is None else f"{value:.3g}"


def _aligned(rows):
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows]
