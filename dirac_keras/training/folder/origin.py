"""Where a run's random numbers come from, beside its config: the backend of Keras, and the reader of the data.

Either draws from the same seed other numbers: a network starts elsewhere on another backend, and its batches are others
with another reader. So a run that is not finished is resumed with its own alone.
"""

import hashlib

import keras
import numpy as np

from dirac_keras.errors import UserError

FIRST_READER = "tensorflow"  # of every run that began before there was another, and recorded neither


def origin_of(splits):
    """`{"backend", "reader", "test_images"}` of a training in this process, as a run records it.

    Args:
        splits: see `train`; its attribute `reader` is a name, and its method `stored` gives the images in memory; both
            are absent of data that are not of `pipelines`.
    """
    stored = splits.stored("test") if hasattr(splits, "stored") else None
    return {
        "backend": keras.backend.backend(),
        "reader": getattr(splits, "reader", None),
        "test_images": None if stored is None else digest_of_images(np.asarray(stored.images)[stored.rows]),
    }


def digest_of_images(images):
    """A digest that tells copies of a data set apart: that of its images, in whatever order they lie.

    Args:
        images: `(n, height, width, channels)` uint8.

    Returns: 32 hexadecimal digits.
    """
    hashed = (hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest() for image in images)
    return f"{sum(int.from_bytes(one, 'big') for one in hashed) % 2**128:032x}"


def check_origin(path, record, origin):
    """Raise UserError unless a run that is not finished began with the backend and the reader that are here.

    Args:
        path: of the run's folder.
        record: `RunRecord`.
        origin: what `origin_of` gave; None checks nothing.
    """
    if origin is None:
        return
    backend, reader = record.backend or _backend_of(record.versions), record.reader
    if record.backend is None:
        reader = FIRST_READER
    instead = "give another `workdir`, or `overwrite=True` to delete that run."
    if backend not in (None, origin["backend"]):
        raise UserError(
            f"workdir {path} holds a run that began on Keras' backend {backend}; here it is {origin['backend']}, which "
            f"draws other random numbers. Resume it with KERAS_BACKEND={backend}, {instead}"
        )
    if None not in (reader, origin["reader"]) and reader != origin["reader"]:
        raise UserError(
            f"workdir {path} holds a run whose data the reader {reader} read; here it is {origin['reader']}, which "
            "draws other batches. Resume it on its backend (KERAS_BACKEND=tensorflow for tensorflow) or with the "
            f"version of dirac_keras that began it, {instead}"
        )


def _backend_of(versions):
    """The backend of a run that did not record it, where only one was installed; else None."""
    installed = [name for name in ("tensorflow", "jax") if name in versions]
    return installed[0] if len(installed) == 1 else None
