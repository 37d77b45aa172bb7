"""What an export wrote."""

import dataclasses
import textwrap

from dirac_keras.brief import brief
from dirac_keras.deployment.pictures import GIVEN
from dirac_keras.deployment.quantization.grids import db_text
from dirac_keras.files.amounts import size_text


@brief
@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: str.
        format: str.
        signatures: dict, name -> `{"inputs": {name: "dtype shape"}, "outputs": {name: "dtype shape"}}`; a format but
            SavedModel has one, `serve`.
        max_abs_difference: float, largest between the model and the reloaded artefact over all signatures;
            None if it was not verified.
        size_bytes: int, of the files of the artefact, without a card and a hub's.
        notes: tuple of str, what the reader should know.
        precision: str.
        runtime: str, what ran it, with the version; "" if it was not verified.
        compared: dict: `images`, their number; `of`, which ones; `real`, whether they were no random ones; `sqnr_db`;
            `agreement`, share with the same class; None for a SavedModel or if it was not verified.
        quantization: dict, `QuantizationReport.to_dict()` and `text`, the same as lines; None in float.
        gate: dict, what the gate measured; None without one.
    """

    path: str
    format: str
    signatures: dict
    max_abs_difference: float | None
    size_bytes: int
    notes: tuple = ()
    precision: str = "float32"
    runtime: str = ""
    compared: dict | None = None
    quantization: dict | None = None
    gate: dict | None = None

    def to_dict(self):
        """A JSON-safe dict."""
        return {**dataclasses.asdict(self), "notes": list(self.notes)}

    def __str__(self):
        precision = "" if self.format == "saved_model" else f" {self.precision}"
        lines = [f"{self.format}{precision} {self.path} ({size_text(self.size_bytes)}; {self._checked()})"]
        for name, signature in self.signatures.items():
            sides = [", ".join(f"{k}: {v}" for k, v in signature[side].items()) for side in ("inputs", "outputs")]
            lines.append(f"  {name}: {' -> '.join(sides)}")
        if self.gate:
            lines.append(f"  gate: {self.gate['text']}")
        quantized = self.quantization or {}
        if quantized.get("text"):
            lines.append(textwrap.indent(quantized["text"], "  "))
        own = [note for note in self.notes if note not in quantized.get("notes", ())]
        return "\n".join(lines + [f"  note: {note}" for note in own])

    def _checked(self):
        if self.max_abs_difference is None:
            return "not verified"
        text = f"reloaded in a clean process, max abs difference {self.max_abs_difference:.2g}"
        if self.compared:
            text += f", {db_text(self.compared['sqnr_db'])}"
            if self.compared["agreement"] is not None:
                text += f", same class for {self.compared['agreement']:.1%}"
            text += f" of {images_text(self.compared)}; {self.runtime}"
        return text


def images_text(compared):
    """Which images an artefact was compared on: `64 of the given images`, `1 test image of digits`."""
    what = compared.get("of") or GIVEN
    if compared["images"] == 1 and what != GIVEN:
        what = what.replace("images", "image", 1).replace("files", "file", 1).replace("samples", "sample", 1)
    return f"{compared['images']:,} {what}"
