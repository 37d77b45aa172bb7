"""What an export wrote."""

import dataclasses


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
        compared: dict: `images`, their number; `real`, whether they were a user's; `sqnr_db`; `agreement`, share with
            the same class; None for a SavedModel or if it was not verified.
        quantization: dict, `QuantizationReport.to_dict()`; None in float.
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
        lines = [f"{self.format}{precision} {self.path} ({self.size_bytes / 1e6:.1f} MB; {self._checked()})"]
        for name, signature in self.signatures.items():
            sides = [", ".join(f"{k}: {v}" for k, v in signature[side].items()) for side in ("inputs", "outputs")]
            lines.append(f"  {name}: {' -> '.join(sides)}")
        if self.gate:
            lines.append(f"  gate: {self.gate['text']}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def _checked(self):
        if self.max_abs_difference is None:
            return "not verified"
        text = f"reloaded in a clean process, max abs difference {self.max_abs_difference:.2g}"
        if self.compared:
            kind = "of the given images" if self.compared["real"] else "random images"
            text += f", {self.compared['sqnr_db']:.1f} dB"
            if self.compared["agreement"] is not None:
                text += f", same class for {self.compared['agreement']:.1%}"
            text += f" of {self.compared['images']} {kind}; {self.runtime}"
        return text
