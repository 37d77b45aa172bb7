"""Two artefacts' outputs for the same images."""

import numpy as np

from dirac_keras.deployment.heads import are_probabilities
from dirac_keras.deployment.quantization.grids import signal_to_noise_db

NAMES = ("logits", "probabilities")


def named_outputs(outputs):
    """The outputs `logits` and `probabilities`; a single one of another name is told by its numbers.

    Args:
        outputs: dict, name -> `(images, classes)`.

    Returns: dict with one or both of the names; empty if nothing is a classifier's output.
    """
    known = {name: np.asarray(outputs[name]) for name in NAMES if name in outputs}
    if known:
        return known
    rows = [np.asarray(value) for value in outputs.values() if np.ndim(value) == 2]
    rows = [row for row in rows if row.dtype.kind == "f"]
    if len(rows) != 1:
        return {}
    return {"probabilities" if are_probabilities(rows[0]) else "logits": rows[0]}


def classes_of(outputs):
    """The class of each image, `(images,)`. One number an image is the second of two classes."""
    name = next(name for name in NAMES if name in outputs)
    rows = outputs[name]
    if rows.shape[-1] == 1:
        return (rows[:, 0] > (0.0 if name == "logits" else 0.5)).astype("int64")
    return rows.argmax(-1)


def units_of(outputs):
    """Classes of a classifier's outputs."""
    return max(max(rows.shape[-1] for rows in outputs.values()), 2)


def compare(outputs, reference):
    """How outputs differ from a reference's.

    Args:
        outputs, reference: dicts, as `named_outputs` gives them.

    Returns: dict: `agreement`, share of images that get the same class; `compared`, the output that both have, logits
        before probabilities, or None; `max_abs_difference`; `sqnr_db`, None where nothing differs.
    """
    found = {"agreement": float(np.mean(classes_of(outputs) == classes_of(reference)))}
    name = next((n for n in NAMES if n in outputs and n in reference), None)
    if name is None:
        return {**found, "compared": None, "max_abs_difference": None, "sqnr_db": None}
    ours, theirs = outputs[name].astype("float64"), reference[name].astype("float64")
    difference = float(np.max(np.abs(ours - theirs)))
    sqnr = signal_to_noise_db(theirs, ours) if difference and theirs.any() else None
    return {**found, "compared": name, "max_abs_difference": difference, "sqnr_db": sqnr}
