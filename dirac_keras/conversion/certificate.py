"""What became of a network that was made plain, as data and as text."""

import dataclasses

from dirac_keras.brief import brief
from dirac_keras.files.amounts import counted
from dirac_keras.listing import listed


@brief
@dataclasses.dataclass(frozen=True)
class Certificate:
    """That a network is plain, what it computes and what it costs, beside the one that it was made from.

    Attributes:
        model: str, name of the original.
        method: str, `"exact"`, `"phase_out"` or `"retrain"`.
        skips: tuple of `PlainSkip`, in the order of the network.
        merged: tuple of `FoldedLayer`, what folding merged before, branches among it.
        left_out: tuple of str, layers such as Dropout that are gone: they did something in training alone.
        parameters_before, parameters_after: int.
        macs_before, macs_after: int, multiply-accumulates of one sample; None if a size is open.
        activations_before, activations_after: `ActivationMemory` of one sample, of the original as it folds, and of the
            plain one.
        latency_before, latency_after: float, seconds of one sample on this machine, of the original as it folds and of
            the plain one, medians of calls in turn; None if not measured.
        max_abs_difference, max_relative_difference: float, over all outputs on random inputs; None if not verified.
        argmax_agreement: float, share of positions with the same largest output; None where there is none.
        accuracy_before, accuracy_after: float, on the data that were given; None without.
        images: int, how many these were.
        note: str, why verification says less than usual; empty if it does not.
    """

    model: str
    method: str
    skips: tuple
    merged: tuple
    left_out: tuple
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    activations_before: object
    activations_after: object
    latency_before: float | None = None
    latency_after: float | None = None
    max_abs_difference: float | None = None
    max_relative_difference: float | None = None
    argmax_agreement: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    images: int = 0
    note: str = ""

    def to_dict(self):
        """The certificate as plain lists, dicts and numbers, for JSON."""
        record = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}

    def _headline(self):
        if not self.skips:
            did = "folded" if self.method == "exact" else "trained and folded"
            return f"'{self.model}' had no skip connections: it is {did}, nothing else (method '{self.method}')"
        gone = "is" if len(self.skips) == 1 else "are"
        return f"'{self.model}' is plain (method '{self.method}'): {counted(len(self.skips), 'skip')} {gone} gone"

    def __str__(self):
        rows = [
            ("parameters", _change(self.parameters_before, self.parameters_after)),
            ("multiply-accumulates", _change(self.macs_before, self.macs_after)),
            ("peak of activations", f"{self.activations_before} -> {self.activations_after}"),
            ("latency", _latency(self.latency_before, self.latency_after)),
            ("max relative difference", _number(self.max_relative_difference)),
            ("argmax agreement", "-" if self.argmax_agreement is None else f"{self.argmax_agreement:.2%}"),
        ]
        if self.accuracy_before is not None:
            accuracy = f"{self.accuracy_before:.4f} -> {self.accuracy_after:.4f} on {counted(self.images, 'sample')}"
            rows.append(("accuracy", accuracy))
        lines = [self._headline()]
        lines += _aligned(rows)
        if self.note:
            lines.append(f"  note: {self.note}")
        if self.skips:
            lines.append("skips:")
            texts = [
                f"from '{skip.start}' into '{skip.into}', {counted(skip.channels, 'channel')} carried: {skip.how}"
                if skip.channels
                else f"from '{skip.start}' beside '{skip.into}': {skip.how}"
                for skip in self.skips
            ]
            lines += _aligned([(skip.join, text) for skip, text in zip(self.skips, texts, strict=True)])
        if self.left_out:
            lines.append(f"left out, as they did something in training alone: {listed(self.left_out)}")
        return "\n".join(lines)


def _change(before, after):
    if before is None or after is None:
        return "unknown: a size is open"
    factor = f" ({after / before:.2f} times the original's)" if before else ""
    return f"{before:,} -> {after:,}{factor}"


def _latency(before, after):
    if before is None:
        return "not measured"
    return f"{1000 * before:.1f} -> {1000 * after:.1f} ms a sample ({after / before:.2f} times the folded original's)"


def _number(value):
    return "not verified" if value is None else f"{value:.3g}"


def _aligned(rows):
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows]
