"""What quantization may cost, as the user states it, and whether a result keeps to it."""

import dataclasses
import math

import numpy as np

from dirac_keras.brief import brief
from dirac_keras.deployment.quantization.grids import db_text, signal_to_noise_db
from dirac_keras.errors import RunError, UserError

ADVICE = (
    "More `calibration` images, layers kept in higher precision (`max_kept`) or training for integers may reach it; "
    "else allow more to be lost."
)


@brief
@dataclasses.dataclass(frozen=True)
class GateResult:
    """A quantized network beside the one it was made of, on the same images.

    Attributes:
        images: int.
        sqnr_db: float, signal to quantization noise ratio of the logits, decibels.
        agreement: float, share of images with the same likeliest class, 0 to 1.
        accuracy_before, accuracy: float, of both networks, 0 to 1; None without labels.
        failures: tuple of str, conditions that are not met; empty if all are.
    """

    images: int
    sqnr_db: float
    agreement: float
    accuracy_before: float | None
    accuracy: float | None
    failures: tuple = ()

    @property
    def passed(self):
        return not self.failures

    @property
    def accuracy_drop(self):
        """Points of accuracy that were lost, 0 to 100; below 0 if some were won."""
        return None if self.accuracy is None else 100 * (self.accuracy_before - self.accuracy)

    def to_dict(self):
        """JSON-safe dict."""
        record = dataclasses.asdict(self)
        record["sqnr_db"] = self.sqnr_db if math.isfinite(self.sqnr_db) else str(self.sqnr_db)
        return {**record, "failures": list(self.failures), "accuracy_drop": self.accuracy_drop, "passed": self.passed}

    def __str__(self):
        ratio = db_text(self.sqnr_db)
        parts = [ratio if self.sqnr_db == math.inf else f"SQNR {ratio}", f"same class {self.agreement:.2%}"]
        if self.accuracy is not None:
            change = f"{round(-self.accuracy_drop, 2) + 0.0:+.2f} points"  # no -0.00
            parts.append(f"accuracy {self.accuracy_before:.2%} -> {self.accuracy:.2%} ({change})")
        return f"{', '.join(parts)} on {self.images:,} images"


@dataclasses.dataclass(frozen=True)
class Gate:
    """What may be lost.

    Attributes:
        max_accuracy_drop: points of accuracy, 0 to 100, or None for any.
        min_sqnr: decibels that the logits' signal to quantization noise ratio must reach, or None.
    """

    max_accuracy_drop: float | None = None
    min_sqnr: float | None = None

    def __post_init__(self):
        for name in ("max_accuracy_drop", "min_sqnr"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise UserError(f"{name} must be a number. Received {name}={value!r}.")
            if value is not None and not math.isfinite(value):
                raise UserError(f"{name} must be finite. Received {name}={value}.")
        if self.max_accuracy_drop is not None and not 0 <= self.max_accuracy_drop <= 100:
            raise UserError(
                f"max_accuracy_drop must be points of accuracy from 0 to 100. Received "
                f"max_accuracy_drop={self.max_accuracy_drop}."
            )

    def check(self, reference, outputs, labels=None):
        """Compare.

        Args:
            reference, outputs: arrays `(images, classes)`, logits of the network before and after; one column is the
                logit of the second of two classes.
            labels: int array `(images,)`, for the accuracy.

        Returns: `GateResult`.
        Raises: ValueError: if a drop of accuracy is to be judged without labels, or the arrays do not fit.
        """
        reference, outputs = np.asarray(reference, "float64"), np.asarray(outputs, "float64")
        if reference.shape != outputs.shape or not len(reference):
            raise UserError(f"outputs must be as the reference's, {reference.shape}. Received {outputs.shape}.")
        if labels is None and self.max_accuracy_drop is not None:
            raise UserError("`max_accuracy_drop` needs labels. Give calibration data that have them, or `min_sqnr`.")
        before, after = _classes(reference), _classes(outputs)
        accuracies = (None, None)
        if labels is not None:
            accuracies = tuple(float(np.mean(classes == np.asarray(labels))) for classes in (before, after))
        result = GateResult(
            images=len(reference),
            sqnr_db=signal_to_noise_db(reference, outputs),
            agreement=float(np.mean(before == after)),
            accuracy_before=accuracies[0],
            accuracy=accuracies[1],
        )
        return dataclasses.replace(result, failures=tuple(self._failures(result)))

    def require(self, reference, outputs, labels=None, advice=ADVICE):
        """`check`, and an error where it fails.

        Args:
            reference, outputs, labels: as in `check`.
            advice: sentence on what may reach it.

        Raises: RunError: with the figures and the ways out.
        """
        result = self.check(reference, outputs, labels)
        if not result.passed:
            raise RunError(f"{'; '.join(result.failures)}. Nothing was written. {advice}")
        return result

    def _failures(self, result):
        allowed, least = self.max_accuracy_drop, self.min_sqnr
        # Of n images the smallest drop is 1/n: rounding of the division is no loss.
        if allowed is not None and not result.accuracy_drop <= allowed + 1e-9:
            yield (
                f"the accuracy drops by {result.accuracy_drop:.2f} points, {result.accuracy_before:.2%} to "
                f"{result.accuracy:.2%} on {result.images:,} images, more than `max_accuracy_drop={allowed:g}`"
            )
        if least is not None and not result.sqnr_db >= least:
            yield f"the SQNR of the logits is {result.sqnr_db:.1f} dB, less than `min_sqnr={least:g}`"


def _classes(logits):
    if not np.isfinite(logits).all():
        return np.where(np.isfinite(logits).all(axis=-1), logits.argmax(axis=-1), -1)  # a wrong answer
    return (logits[:, 0] > 0).astype(int) if logits.shape[-1] == 1 else logits.argmax(axis=-1)
