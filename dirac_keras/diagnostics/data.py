"""The data a network is measured on: any source as checked batches."""

import keras
import numpy as np

from dirac_keras.errors import UserError

BATCH_SIZE = 128


def batches(model, data, batch_size=BATCH_SIZE):
    """Any source of data as batches.

    Args:
        model: built `keras.Model`; its inputs tell the shapes.
        data: an iterable of batches `(images, labels)` or `images`, such as a `tf.data.Dataset`; or a tuple of whole
            arrays `(images, labels)` or `(images,)`; or one array of images. `images` is in the structure of the
            model's input, a dict by the inputs' names, where there are several.
        batch_size: int, of whole arrays.

    Yields: `(inputs, labels)`: a list with an array for each input of the model, and an array `(batch, ...)` or None.
    Raises: ValueError: if there are no data or they never end, an array does not fit the model, or the numbers of
        images and labels differ.
    """
    if data is None or isinstance(data, (str, bytes, int, float)):
        raise UserError(f"data must be arrays or an iterable of batches (images, labels). Received data={data!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size must be a whole number above 0. Received batch_size={batch_size!r}.")
    if _never_ends(data):
        raise UserError("data never ends: it repeats for ever. Give it without .repeat(), or with .take(n).")
    empty = True
    for batch in _raw_batches(data, batch_size):
        inputs, labels = _parts(batch)
        inputs = _in_order(model, inputs)
        size = _check_inputs(model, inputs)
        labels = None if labels is None or isinstance(labels, (dict, list)) else _numpy(labels)
        if labels is not None and (labels.ndim == 0 or len(labels) != size):
            raise UserError(f"data holds {size} images and labels of shape {labels.shape} in one batch; one each.")
        if size and (nothing := [array.shape for array in inputs if not array.size]):
            raise UserError(f"data must hold numbers. Received an array of shape {nothing[0]}, which has none.")
        if size:
            empty = False
            yield inputs, labels
    if empty:
        raise UserError("data is empty: it gave no image. A generator can be read once only; give a Dataset or arrays.")


def _never_ends(data):
    cardinality = getattr(data, "cardinality", None)
    return callable(cardinality) and int(cardinality()) == -1  # tf.data.INFINITE_CARDINALITY


def _raw_batches(data, batch_size):
    if isinstance(data, keras.utils.PyDataset):  # iterating one would never end
        yield from (data[k] for k in range(len(data)))
        return
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    if not (is_array or isinstance(data, (tuple, dict))):
        try:
            yield from data
        except TypeError as error:
            if "iterable" not in str(error):
                raise
            raise UserError(
                f"data must be arrays or an iterable of batches (images, labels). Received {type(data).__name__}."
            ) from None
        return
    leaves = keras.tree.flatten(data)
    if any(leaf is not None and not np.ndim(leaf) for leaf in leaves):
        raise UserError("data given as a tuple or dict must hold arrays (images, labels) with a sample axis.")
    size = len(leaves[0]) if leaves else 0
    if any(leaf is not None and len(leaf) != size for leaf in leaves):
        raise UserError(f"data holds arrays of different lengths: {[len(leaf) for leaf in leaves]}.")
    for start in range(0, size, batch_size):
        chosen = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda leaf, chosen=chosen: None if leaf is None else leaf[chosen], data)


def _parts(batch):
    if not isinstance(batch, tuple):
        return batch, None
    if not 1 <= len(batch) <= 3:
        raise UserError(f"data must give batches (images, labels). Received a tuple of {len(batch)} things.")
    return batch[0], (batch[1] if len(batch) > 1 else None)  # the third are sample weights


def _in_order(model, inputs):
    if isinstance(inputs, dict) and not isinstance(model.input, dict):
        names = [tensor.name for tensor in model.inputs]
        if set(names) - set(inputs):
            raise UserError(f"data lacks inputs of the model: it takes {names}, data gives {sorted(inputs)}.")
        inputs = [inputs[name] for name in names]
    return [_numpy(value) for value in keras.tree.flatten(inputs)]


def _numpy(value):
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def _check_inputs(model, inputs):
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    given = [value.shape for value in inputs]
    fits = len(shapes) == len(given) and all(_fits(a, b) for a, b in zip(shapes, given, strict=True))
    if not fits:
        raise UserError(
            f"data must give images of shape {_words(shapes)}, as the model takes. Received {_words(given)}."
        )
    if len({shape[0] for shape in given}) != 1:
        raise UserError(f"data gives inputs of different numbers of samples: {_words(given)}.")
    return given[0][0]


def _fits(expected, given):
    return len(expected) == len(given) and all(a in (None, b) for a, b in zip(expected[1:], given[1:], strict=True))


def _words(shapes):
    return ", ".join(str(tuple(shape)) for shape in shapes)
