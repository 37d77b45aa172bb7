"""Whether a layer's copy is its equal, in weights and in all that it keeps elsewhere."""

import numbers
import types

import keras
import numpy as np

from dirac_keras.folding.package_objects import is_from_package

# What tells one object from another, or lies in the graphs around it, and does not change what it computes.
_IGNORED = {
    *(
        "name",
        "_name",
        "output_names",
        "_path",
        "_parent_path",
        "_auto_config",
        "_tracker",
        "tracker",
        "_tracked",
        "_lock",
    ),
    *("_inbound_nodes", "_outbound_nodes", "_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth"),
    *("_called", "_losses", "_loss_ids", "_losses_override", "_build_shapes_dict", "_call_signature"),
    "_build_input_shape",  # of a layer that was adapted: with the batch that it saw first
    *("trainable", "_trainable"),  # set when all is built
    *("is_gptq_calibrated", "is_awq_calibrated"),  # there once a file was read; what is calibrated is quantized
    "_initial_seed",  # the generators' states are set anyway, as are the weights: any initializer will do
}
_IGNORED_TYPES = (keras.KerasTensor, keras.Initializer)
_DIFFERENT = object()


def difference(original, copy):
    """Where two layers differ, names aside.

    Compared are all attributes at any depth: weights, arrays, lists, functions with what they enclose, layers in
    layers. What cannot be compared counts as different.

    Args:
        original, copy: layers of one class, built.

    Returns: str, the first attribute that differs, as `cell.kernel`; None if the two are equal.
    """
    return _Comparison().first_difference(original, copy, "")


class _Comparison:
    def __init__(self):
        self._seen = set()
        self._alive = []  # pairs are told apart by id, so none may be collected meanwhile

    def first_difference(self, a, b, place):
        if a is b or (id(a), id(b)) in self._seen or isinstance(a, _IGNORED_TYPES) or _is_dropped(a):
            return None
        self._seen.add((id(a), id(b)))
        self._alive.append((a, b))
        if _is_number(a) and _is_number(b):
            return None if a == b or (a != a and b != b) else place or "value"
        if type(a) is not type(b):
            return place or "class"
        parts = _parts(a, b)
        if parts is None:
            return None if _are_equal(a, b) else place or "value"
        if parts is _DIFFERENT:
            return place or "structure"
        for name, *pair in parts:
            found = self.first_difference(*pair, f"{place}.{name}" if place and name else place or name)
            if found is not None:
                return found
        return None


def _is_dropped(value):
    """Constraints and regularizers of this package: no folded model has them."""
    return isinstance(value, (keras.constraints.Constraint, keras.regularizers.Regularizer)) and is_from_package(value)


def _is_number(value):
    return isinstance(value, numbers.Number) and not isinstance(value, bool)


def _parts(a, b):
    """`[(name, part of a, part of b)]`; None for what has no parts."""
    if isinstance(a, dict):
        keys = [key for key in (a | b) if not _is_ignored(key)]
        return [(str(key), a.get(key, _DIFFERENT), b.get(key, _DIFFERENT)) for key in keys]
    if isinstance(a, (list, tuple)):
        return [(str(i), *pair) for i, pair in enumerate(zip(a, b, strict=True))] if len(a) == len(b) else _DIFFERENT
    if isinstance(a, types.MethodType):
        return [("", a.__self__, b.__self__), ("", a.__func__, b.__func__)]
    if isinstance(a, types.FunctionType):
        if a.__code__ != b.__code__ or a.__globals__ is not b.__globals__:
            return _DIFFERENT
        cells = ([_content(cell) for cell in function.__closure__ or ()] for function in (a, b))
        return [("", *cells), ("", a.__defaults__, b.__defaults__), ("", a.__kwdefaults__, b.__kwdefaults__)]
    is_value = isinstance(a, (keras.Variable, np.ndarray, type)) or keras.ops.is_tensor(a) or not hasattr(a, "__dict__")
    return None if is_value else [("", vars(a), vars(b))]


def _is_ignored(key):
    if not isinstance(key, str):
        return False
    is_bookkeeping = key.startswith("_self_")  # TensorFlow's
    return is_bookkeeping or key in _IGNORED or key.endswith("initializer")


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _are_equal(a, b):
    try:
        if isinstance(a, keras.Variable) or keras.ops.is_tensor(a):
            if tuple(a.shape) != tuple(b.shape) or a.dtype != b.dtype:
                return False
            a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        if isinstance(a, np.ndarray):
            return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        return bool(a == b)
    except Exception:  # of whatever kind: the comparison is the object's own code
        return False
