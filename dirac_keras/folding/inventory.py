"""Every BatchNormalization that a model holds, wherever it lies: in layers of layers, lists, closures."""

import functools
import types

import keras
import numpy as np

# The graphs that a layer stands in, not what it holds.
_OUTSIDE = {"_inbound_nodes", "_outbound_nodes", "_nodes", "_nodes_by_depth", "_operations", "_operations_by_depth"}
_FRAMEWORKS = {"keras", "tensorflow", "jax", "jaxlib", "numpy", "torch", "builtins"}


def layers_inside(layer):
    """Pairs `(path, layer)` of all layers that `layer` holds at any depth, each once.

    A path joins the names of the layers around: `backbone/block/norm`. Layers are found in attributes, in lists and
    dicts, in objects that are no layers, and in functions that enclose them or use them as globals.
    """
    found, seen = [], {id(layer)}
    waiting = [("", layer)]
    while waiting:
        path, holder = waiting.pop(0)
        for inner in _direct(holder):
            if id(inner) not in seen:
                seen.add(id(inner))
                inner_path = path + inner.name
                found.append((inner_path, inner))
                waiting.append((f"{inner_path}/", inner))
    return found


def normalizations_inside(layer):
    """Pairs `(path, layer)` of all layers inside `layer` that are batch normalizations, by class or by their name."""
    return [(path, inner) for path, inner in layers_inside(layer) if is_any_normalization(inner)]


def is_any_normalization(layer):
    """Whether it is Keras' BatchNormalization, a subclass, or a class of another library that is called so."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return True
    name = type(layer).__name__.lower().replace("_", "")
    return "batchnorm" in name and not any(is_any_normalization(inner) for inner in _direct(layer))


def _direct(layer):
    """Layers that a layer holds with no other layer between."""
    seen = set()
    waiting = [vars(layer)]
    if isinstance(layer, keras.Model):
        waiting.insert(0, list(layer.layers))
    while waiting:
        value = waiting.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, keras.layers.Layer):
            yield value
        else:
            waiting += _parts(value)


def _parts(value):
    if isinstance(value, dict):
        return [part for key, part in value.items() if not (isinstance(key, str) and key in _OUTSIDE)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        if (value.__module__ or "").split(".")[0] in _FRAMEWORKS:
            return []
        named = [value.__globals__.get(name) for name in value.__code__.co_names]
        held = [part for part in named if isinstance(part, keras.layers.Layer)]
        return [*_closed_over(value), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *held]
    is_opaque = isinstance(value, (type, types.ModuleType, np.ndarray, keras.KerasTensor))
    if is_opaque or type(value).__module__.split(".")[0] in _FRAMEWORKS or not hasattr(value, "__dict__"):
        return []
    return [vars(value)]


def _closed_over(function):
    parts = []
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    return parts
