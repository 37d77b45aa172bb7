"""The two readers: TensorFlow's tf.data, and threads that fill NumPy arrays. Which one reads follows Keras' backend.

An engine is a module with what readers of data sets cannot do the same way in both:

    ERRORS                          what its decoding and reading raise for damaged data
    hold(*examples)                 Examples with images and bytes as its streams take them
    open_prepared(path)             a `readers.prepared.Prepared`
    fetch(name, entry, data)        get a data set of `readers.named`
    record_batches(files, entry)    images and labels of TFRecord files, by the batch
    fault_of(shards)                which record of which file is damaged
    fault_at(path, start, length)   what is wrong with one record
    read_images(records, rows)      encoded images; None for a damaged record
    read(data, channels, rule)      one image: (pixels, None), or None and the reason
    decode_published(data, channels)
    decode_files(examples, target)  uint8 images, and the positions of those that cannot be decoded
    find_faults(examples, rule, positions, progress)
    reason(examples, position, rule)
    scale(images, rows, size)       uint8 images of another size
    make_splits(**fields)           `Splits` or `ArraySplits`
"""

from __future__ import annotations

import importlib
import types

from pipelines.arguments import check_choice
from pipelines.examples import DataError

TENSORFLOW, NUMPY = "tensorflow", "numpy"
READER_NAMES = ("auto", TENSORFLOW, NUMPY)
MODULES = {TENSORFLOW: "pipelines.tensorflow_engine", NUMPY: "pipelines.arrays.engine"}


def find_engine(reader: str = TENSORFLOW) -> types.ModuleType:
    """The engine of a reader's name. Raises: DataError: if there is none, or TensorFlow is not installed."""
    check_choice("reader", reader, READER_NAMES)
    if reader == "auto":
        reader = TENSORFLOW if _backend() == "tensorflow" else NUMPY
    try:
        return importlib.import_module(MODULES[reader])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise DataError(
            f"reader={reader!r} needs TensorFlow, which is not installed: pip install tensorflow, "
            'or give reader="numpy".'
        ) from error


def _backend() -> str:
    import keras

    return keras.backend.backend()
