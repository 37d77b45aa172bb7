"""The calls of a traced graph, run on values."""

import inspect

import keras


def apply_call(call, values, training=()):
    """What one call of a layer or raw operation gives in `model.predict`.

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
        # As `model.predict` says it: that overrides what the call itself says, and layers that augment images take
        # silence for training.
        kwargs = {**kwargs, "training": isinstance(call.operation, training)}
    return call.operation(*args, **kwargs)


def _takes_training(operation):
    return isinstance(operation, keras.layers.Layer) and "training" in inspect.signature(operation.call).parameters
