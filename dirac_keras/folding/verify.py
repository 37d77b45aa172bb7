"""Whether the folded model computes what the original does, on random inputs."""

from dataclasses import dataclass

import keras
import numpy as np

from dirac_keras.errors import RunError
from dirac_keras.graph.nested import all_layers

# Relative to the output's scale. float32 folds agree to 1e-5 or so; what is wrong is off by 0.1 or more.
# In half precision the original itself is that far from its exact value: eps is 2^-8 in bfloat16, 2^-11 in
# float16.
_TOLERANCE = {"bfloat16": 0.2, "float16": 0.03}
_TOLERANCE_FLOAT32 = 1e-3
_EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 2.0**-52}  # float32 otherwise
_SIZES = (32, 64, 224)  # for unknown axes, smallest that the model takes
_BATCH = 4


def input_shapes(model, size=_SIZES[0], batch=_BATCH):
    """The shapes of `model.inputs` with numbers for what is unknown."""
    return [
        tuple((batch if axis == 0 else size) if length is None else length for axis, length in enumerate(tensor.shape))
        for tensor in model.inputs
    ]


def random_inputs(model, shapes, seed=0):
    """Random inputs in the structure of the model's.

    They are normal, behind the model's own rescaling if it has one, or integers that every embedding has a
    row for.
    """
    generator = np.random.default_rng(seed)
    rows = [layer.input_dim for layer in all_layers(model) if isinstance(layer, keras.layers.Embedding)]
    rescalings = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Rescaling)]
    scale, offset = (rescalings[0].scale, rescalings[0].offset) if rescalings else (1.0, 0.0)
    if np.size(scale) * np.size(offset) > 1:  # per channel: whether these are the inputs' channels is not known
        scale, offset = np.mean(scale), np.mean(offset)
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
            values = (generator.normal(size=shape) - offset) / scale
        arrays.append(keras.ops.convert_to_tensor(values, dtype=dtype))
    structure = model.inputs if isinstance(model, keras.Sequential) else model.input
    arrays = keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0] if isinstance(model, keras.Sequential) else arrays


@dataclass(frozen=True)
class Sample:
    """Input shapes, and what the original makes of random inputs of these shapes, or why it makes nothing."""

    shapes: list
    inputs: object = None
    outputs: list | None = None
    error: Exception | None = None


def sample(model):
    """Runs `model` on random inputs, of the first of a few sizes that it takes where sizes are unknown."""
    is_flexible = any(length is None for tensor in model.inputs for length in tensor.shape[1:])
    for size in _SIZES if is_flexible else _SIZES[:1]:
        shapes = input_shapes(model, size)
        try:
            inputs = random_inputs(model, shapes)
            return Sample(shapes, inputs, _run(model, inputs))
        except Exception as caught:  # of whatever kind: the model's own code runs here
            error = caught
    return Sample(input_shapes(model), error=error)


def compare(expected, model, folded):
    """Runs `folded` on the sample's inputs and holds the outputs against the original's.

    Args:
        expected: `Sample` of `model`.

    Returns: dict with `max_abs_difference`, `max_relative_difference`, `argmax_agreement` and `note`.
    Raises: RunError: if they differ by more than the precision of the model explains.
    """
    if expected.error is not None:
        kind = type(expected.error).__name__
        return {"note": f"not verified: the original does not run on random inputs ({kind}: {expected.error})"}
    differences = [
        _Difference.between(*pair) for pair in zip(expected.outputs, _run(folded, expected.inputs), strict=True)
    ]
    absolute = max(difference.absolute for difference in differences)
    relative = max(difference.relative for difference in differences)
    tolerance, notes = _tolerance(model), []
    if tolerance < relative < np.inf:
        # Some networks amplify rounding by 1e4 and more; then every order of the sums gives another output.
        rounding = _effect_of_rounding(model, expected)
        tolerance = max(tolerance, 10.0 * rounding)
        notes.append(f"the model amplifies rounding: rounding each weight anew moves its outputs by {rounding:.2g}")
    if not all(np.isfinite(output).all() for output in expected.outputs):
        notes.append("outputs on random inputs are not all finite; only finite ones are compared")
    if not relative <= tolerance:
        raise RunError(
            f"fold made a wrong model: on random inputs its outputs differ by {absolute:.3g}, which is "
            f"{relative:.3g} of the output's scale; the tolerance is {tolerance:.3g}. "
            "Please report the model; fold(model, verify=False) returns the folded one unchecked."
        )
    agreements = [difference.same_argmax for difference in differences if difference.same_argmax is not None]
    return {
        "max_abs_difference": absolute,
        "max_relative_difference": relative,
        "argmax_agreement": float(np.mean(np.concatenate(agreements))) if agreements else None,
        "note": "; ".join(notes),
    }


@dataclass(frozen=True)
class _Difference:
    absolute: float
    relative: float
    same_argmax: np.ndarray | None

    @classmethod
    def between(cls, expected, actual):
        finite = np.isfinite(expected)
        if not np.array_equal(finite, np.isfinite(actual)):
            return cls(np.inf, np.inf, None)
        has_classes = expected.ndim >= 2 and expected.shape[-1] > 1
        same_argmax = (expected.argmax(axis=-1) == actual.argmax(axis=-1)).ravel() if has_classes else None
        if not finite.any():
            return cls(0.0, 0.0, same_argmax)
        absolute = float(np.abs(expected[finite] - actual[finite]).max())
        scale = float(np.abs(expected[finite]).max())
        return cls(absolute, absolute / scale if scale > 0 else absolute, same_argmax)


def _effect_of_rounding(model, expected):
    """How far the outputs move, relative to their scale, when every trained weight is rounded another way."""
    generator = np.random.default_rng(0)
    values = []
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        noise = 1.0 + _EPSILON.get(variable.dtype, 2.0**-23) * generator.choice([-1.0, 1.0], value.shape)
        values.append(keras.ops.convert_to_tensor(value.astype("float64") * noise, dtype=variable.dtype))
    outputs = _run(model, expected.inputs, values)
    return max(_Difference.between(*pair).relative for pair in zip(expected.outputs, outputs, strict=True))


def _run(model, inputs, trainable_values=None):
    # Stateless: random generators and statistics of the original stay where they are.
    if trainable_values is None:
        trainable_values = [variable.value for variable in model.trainable_variables]
    outputs, _ = model.stateless_call(
        trainable_values,
        [variable.value for variable in model.non_trainable_variables],
        inputs,
        training=False,
    )
    return [keras.ops.convert_to_numpy(output).astype("float64") for output in keras.tree.flatten(outputs)]


def _tolerance(model):
    dtypes = {layer.compute_dtype for layer in all_layers(model) if layer.weights}
    return max([_TOLERANCE.get(dtype, _TOLERANCE_FLOAT32) for dtype in dtypes], default=_TOLERANCE_FLOAT32)
