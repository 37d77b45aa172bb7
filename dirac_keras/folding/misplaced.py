"""Where Keras on TensorFlow adds a vector along another axis than the one that its shape says.

`ops.add(x, v)`, also behind `x + v` and every bias, takes any `v` with one axis longer than 1 for a bias: it adds it
along the last axis of x, or the second, whichever has this length (Keras 3.15.1, backend/tensorflow/numpy.py).
"""

import keras

WHERE = "on TensorFlow, where both are as long, or one of them is open"


def adds_elsewhere(shape, added):
    """Whether `ops.add` of an x of `shape` and a v of the shape `added` is not what broadcasting makes of them.

    An open last side may be as long as v, so that it is not for some sizes.
    """
    if keras.backend.backend() != "tensorflow" or len(shape) < 2:
        return False
    long = [axis - len(added) for axis, length in enumerate(added) if length != 1]
    if len(long) != 1:
        return False
    length = added[long[0]]
    if shape[-1] is None and long[0] != -1:
        return True
    if length is None or length not in (shape[1], shape[-1]):
        return False
    taken = -1 if shape[-1] == length else 1 - len(shape)
    return taken != long[0] or len(added) > len(shape)
