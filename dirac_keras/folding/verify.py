"""Whether the folded model computes what the original does, on random inputs."""

import itertools

import keras
import numpy as np

# Relative to the output's scale. float32 folds agree to 1e-5 or so; what is wrong is off by 0.1 or more. In half
# precision the original itself is that far from its exact value: eps is 2^-8 in bfloat16, 2^-11 in float16.
_TOLERANCE = {"bfloat16": 0.2, "float16": 0.03}
_TOLERANCE_FLOAT32 = 1e-3
_SIZES = (32, 64, 224)  # for unknown axes, smallest that the model takes
_BATCH = 4


def input_shapes(model, size=_SIZES[0], batch=_BATCH):
    """The shapes of `model.inputs` with numbers for what is unknown."""
    return [
        tuple(
            (batch if axis == 0 else size) if length is None else length for axis, length in enumerate(tensor.shape)
        )
        for tensor in model.inputs
    ]


def random_inputs(model, shapes, seed=0):
    """Random inputs in the structure of the model's: normal, or integers that every embedding has a row for."""
    generator = np.random.default_rng(seed)
    rows = [layer.input_dim for layer in _layers(model) if isinstance(layer, keras.layers.Embedding)]
    arrays = []
    for tensor, shape in zip(model.inputs, shapes, strict=True):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            values = generator.choice(["a", "b", "c d", "e f g"], shape)
        elif dtype == "bool":
            values = generator.random(shape) < 0.5
        elif "int" in dtype:
            values = generator.integers(0, min(rows, default=2), shape).astype(dtype)
        else:
            values = generator.normal(size=shape).astype("float32")
        arrays.append(keras.ops.convert_to_tensor(values, dtype=dtype))
    structure = model.inputs if isinstance(model, keras.Sequential) else model.input
    arrays = keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0] if isinstance(model, keras.Sequential) else arrays


def runnable_shapes(model):
    """Input shapes that the model runs on, and None; or the smallest ones and the error of the last try."""
    error = None
    for size in _SIZES:
        shapes = input_shapes(model, size)
        try:
            _run(model, random_inputs(model, shapes))
            return shapes, None
        except Exception as caught:
            error = caught
        if all(length is not None for tensor in model.inputs for length in tensor.shape[1:]):
            break
    return input_shapes(model), error


def compare(model, folded, shapes):
    """Runs both models on the same random inputs.

    Returns: dict with `max_abs_difference`, `max_relative_difference`, `argmax_agreement` and `note`.
    Raises: RuntimeError: if they differ by more than the precision of the model explains.
    """
    inputs = random_inputs(model, shapes)
    pairs = list(zip(_run(model, inputs), _run(folded, inputs), strict=True))
    absolute, relative, agreements = [0.0], [0.0], []
    note = ""
    for expected, actual in pairs:
        finite = np.isfinite(expected)
        if not finite.all():
            note = "outputs on random inputs are not all finite; only the finite ones are compared"
        if not np.array_equal(finite, np.isfinite(actual)):
            raise RuntimeError("fold made a wrong model: it is finite elsewhere than the original. " + _ADVICE)
        if not finite.any():
            continue
        difference = np.abs(expected[finite] - actual[finite]).max()
        scale = np.abs(expected[finite]).max()
        absolute.append(float(difference))
        relative.append(float(difference / scale) if scale > 0 else float(difference))
        if expected.ndim >= 2 and expected.shape[-1] > 1:
            agreements.append((expected.argmax(axis=-1) == actual.argmax(axis=-1)).ravel())
    tolerance = _tolerance(model)
    if max(relative) > tolerance:
        raise RuntimeError(
            f"fold made a wrong model: its outputs on random inputs differ by {max(absolute):.3g}, "
            f"{max(relative):.3g} of the output's scale, more than the tolerance of {tolerance:.3g}. " + _ADVICE
        )
    return {
        "max_abs_difference": max(absolute),
        "max_relative_difference": max(relative),
        "argmax_agreement": float(np.mean(np.concatenate(agreements))) if agreements else None,
        "note": note,
    }


_ADVICE = "Please report the model; fold(model, verify=False) returns it unchecked."


def _run(model, inputs):
    # Stateless: random generators and statistics of the original stay where they are.
    outputs, _ = model.stateless_call(
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        inputs,
        training=False,
    )
    return [
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))).astype("float64")
        for output in keras.tree.flatten(outputs)
    ]


def _tolerance(model):
    dtypes = {layer.compute_dtype for layer in _layers(model) if layer.weights}
    return max([_TOLERANCE.get(dtype, _TOLERANCE_FLOAT32) for dtype in dtypes], default=_TOLERANCE_FLOAT32)


def _layers(model):
    """The layers of a model and of the models in it."""
    return itertools.chain.from_iterable(
        _layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers
    )
