"""How far the outputs of two models are apart, and how far rounding alone moves those of one."""

from dataclasses import dataclass

import keras
import numpy as np

EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}


@dataclass(frozen=True)
class Difference:
    """The largest difference between two outputs, in numbers and relative to the largest number of the first.

    Infinite where shapes differ, or the places that are NaN or infinite.
    """

    absolute: float
    relative: float
    same_argmax: np.ndarray | None  # a flag for each position with classes

    @classmethod
    def between(cls, expected, actual):
        """Of two arrays."""
        if expected.shape != actual.shape or not _same_where_not_finite(expected, actual):
            return cls(np.inf, np.inf, None)
        has_classes = expected.ndim >= 2 and expected.shape[-1] > 1 and expected.size > 0
        same_argmax = (expected.argmax(axis=-1) == actual.argmax(axis=-1)).ravel() if has_classes else None
        finite = np.isfinite(expected)
        if not finite.any():
            return cls(0.0, 0.0, same_argmax)
        absolute = float(np.abs(expected[finite] - actual[finite]).max())
        scale = float(np.abs(expected[finite]).max())
        return cls(absolute, absolute / scale if scale > 0 else absolute, same_argmax)

    @classmethod
    def of_all(cls, expected, actual):
        """The largest of several outputs."""
        if len(expected) != len(actual):
            return cls(np.inf, np.inf, None)
        each = [cls.between(*pair) for pair in zip(expected, actual, strict=True)]
        flags = [difference.same_argmax for difference in each if difference.same_argmax is not None]
        return cls(
            max(difference.absolute for difference in each),
            max(difference.relative for difference in each),
            np.concatenate(flags) if flags else None,
        )


def _same_where_not_finite(expected, actual):
    wrong = ~np.isfinite(expected)
    return np.array_equal(wrong, ~np.isfinite(actual)) and np.array_equal(
        expected[wrong], actual[wrong], equal_nan=True
    )


def run(model, inputs, values=None):
    """The outputs as a flat list of float64 arrays, at inference.

    Stateless: random generators and statistics of the model stay where they are, and start from there.

    Args:
        values: None, or what stands for `model.variables`.
    """
    if values is None:
        values = [variable.value for variable in model.variables]
    places = {id(variable): place for place, variable in enumerate(model.variables)}
    outputs, _ = model.stateless_call(
        *([values[places[id(x)]] for x in of] for of in (model.trainable_variables, model.non_trainable_variables)),
        inputs,
        training=False,
    )
    return [_as_numbers(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(outputs)]


def _as_numbers(output):
    if output.dtype.kind in "OSU":  # words: equal ones have equal numbers
        output = np.frompyfunc(lambda word: hash(word) % 2**32, 1, 1)(output)
    return np.asarray(output).astype("float64")


def effect_of_rounding(model, inputs, outputs, epsilon_of, tries=2):
    """How far the outputs move, relative to their scale, when every weight is rounded another way.

    Some networks amplify rounding by 1e4 and more: then every order of the sums gives another output.

    Args:
        outputs: what `run` gives for the model's own weights.
        epsilon_of: function of a variable -> half the spacing of floats around 1 in the precision that rounds it.
    """
    generator = np.random.default_rng(0)
    largest = 0.0
    for _ in range(tries):
        values = []
        for variable in model.variables:
            if "float" not in variable.dtype:  # the state of a random generator, a count
                values.append(variable.value)
                continue
            value = keras.ops.convert_to_numpy(variable).astype("float64")
            noise = 1.0 + 2.0 * epsilon_of(variable) * generator.choice([-1.0, 1.0], value.shape)
            values.append(keras.ops.convert_to_tensor(value * noise, dtype=variable.dtype))
        largest = max(largest, Difference.of_all(outputs, run(model, inputs, values)).relative)
    return largest
