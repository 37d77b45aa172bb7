"""What `quantize` tried and what came of it, as data and as text."""

import dataclasses
import math

from dirac_keras.brief import brief
from dirac_keras.deployment.quantization.grids import db_number, db_text


@dataclasses.dataclass(frozen=True)
class Trial:
    """One way to quantize, measured on images that no weight was fitted to.

    Attributes:
        cures: tuple of str, in the order of application; `("nearest",)` is none.
        db: float, SQNR of the logits, weights and activations rounded; weights alone where activations stay in float.
        weights_db: float, weights alone.
        agreement: float, share of images with the same likeliest class.
        accuracy: float, 0 to 1, or None without labels.
        kept: tuple of paths of layers in float.
        seconds: float, of the rounding.
    """

    cures: tuple
    db: float
    weights_db: float
    agreement: float
    accuracy: float | None = None
    kept: tuple = ()
    seconds: float = 0.0


@brief
@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """What was tried, what was chosen and what it costs.

    Attributes:
        bits, activation_bits: int; `activation_bits` None where activations stay in float.
        float_outputs: bool, whether the logits stayed in float.
        images, held_out: int, images that weights were fitted to, and others that the figures are of.
        seed: int.
        trials: tuple of `Trial`, in the order in which they were made.
        chosen: `Trial`.
        activations_db: float, SQNR of the logits with rounded activations and the original's weights; None without.
        accuracy_before: float, of the original on the held-out images, 0 to 1, or None without labels.
        kept: tuple of paths of layers to leave in float.
        kept_steps: tuple of `keeping.KeptStep`.
        identity_in_float: tuple of paths of layers whose identity taps are no integers.
        kept_share, max_kept: floats, of `kept_of`.
        kept_of: `"parameters"` or `"macs"`.
        layers: tuple of `RoundedLayer`.
        left: dict, path -> why a layer with a kernel was not rounded.
        ranges: dict, path of what gives a tensor -> `(low, high)` on the images that weights were
            fitted to; `""` is the image. The figures are of these ranges.
        notes: tuple of str.
    """

    bits: int
    activation_bits: int | None
    float_outputs: bool
    images: int
    held_out: int
    seed: int
    trials: tuple
    chosen: Trial
    activations_db: float | None
    accuracy_before: float | None
    kept: tuple
    kept_steps: tuple
    identity_in_float: tuple
    kept_share: float
    max_kept: float
    kept_of: str
    layers: tuple
    left: dict
    ranges: dict
    notes: tuple = ()

    @property
    def db(self):
        return self.chosen.db

    @property
    def weights_db(self):
        return self.chosen.weights_db

    @property
    def cures(self):
        return self.chosen.cures

    def to_dict(self):
        """JSON-safe dict; infinity becomes `"inf"`."""
        return json_safe(self)

    def __str__(self):
        activations = f"int{self.activation_bits} activations" if self.activation_bits else "activations in float"
        activations += ", logits in float" if self.activation_bits and self.float_outputs else ""
        lines = [
            f"int{self.bits} weights, {activations}; fitted to {self.images:,} images, measured on {self.held_out:,} "
            f"others, seed {self.seed}",
            *table_lines([self._row(trial) for trial in self.trials]),
        ]
        if self.activations_db is not None:
            lines.append(f"  activations alone: {db_text(self.activations_db)}")
        if self.accuracy_before is not None:
            lines.append(f"  accuracy before: {self.accuracy_before:.2%}")
        for step in self.kept_steps:
            what = f"{step.share:.2%} of the {self.kept_of}, {step.gain:+.1f} dB expected"
            names = step.paths[0] if len(step.paths) == 1 else f"{step.paths[0]} to {step.paths[-1]}, {len(step.paths)}"
            lines.append(f"  in float: {names} ({what})")
        if self.identity_in_float:
            lines.append(f"  identity taps in float: in {len(self.identity_in_float)} layers")
        lines += [f"  not quantized: {path}: {reason}" for path, reason in self.left.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _row(self, trial):
        name = ", ".join(trial.cures) + (f", {len(trial.kept)} kept" if trial.kept else "")
        return {
            "  cures": f"{'*' if trial == self.chosen else ' '} {name}",
            "SQNR dB": db_number(trial.db),
            "weights alone": db_number(trial.weights_db),
            "same class": f"{trial.agreement:.2%}",
            "accuracy": "" if trial.accuracy is None else f"{trial.accuracy:.2%}",
        }


def json_safe(value):
    """A dataclass as plain dicts, lists and numbers; what is not finite becomes text."""
    if dataclasses.is_dataclass(value):
        return {field.name: json_safe(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def table_lines(rows):
    """Rows of texts, dicts of the same names, as lines; each column as wide as its widest text."""
    if not rows:
        return []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    first = next(iter(widths))
    lines = [dict(zip(widths, widths, strict=True)), *rows]
    return [
        "  ".join(
            f"{row[name]:<{width}}" if name == first else f"{row[name]:>{width}}" for name, width in widths.items()
        )
        for row in lines
    ]
