"""The calls of a traced graph, run on values."""

import inspect

import keras


def apply_call(call, values, training=()):
    """What one call of a layer or raw operation gives, at inference.

    Args:
        call: `trace.Call`.
        values: dict, number of a tensor -> its value.
        training: tuple of layer classes that are called with `training=True`.
    """
    sources = iter(call.inputs)
    args, kwargs = keras.tree.map_structure(
        lambda x: values[next(sources)] if isinstance(x, keras.KerasTensor) else x, (call.args, call.kwargs)
    )
    if _takes_training(call.operation) and not any(isinstance(x, bool) for x in args[1:]):
        # Said either way: the layers that draw at random take silence for training.
        is_training = call.training or isinstance(call.operation, training)  # or a model around it was called so
        kwargs = {**kwargs, "training": is_training}
    return call.operation(*args, **kwargs)


def _takes_training(operation):
    return isinstance(operation, keras.layers.Layer) and "training" in inspect.signature(operation.call).parameters
