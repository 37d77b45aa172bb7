"""What `fold` holds the folded model against the original by, and what it says where that tells nothing."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.errors import RunError
from dirac_keras.folding import fold, rules, verify
from dirac_keras.folding.differences import Difference
from dirac_keras.folding.sample import take_sample
from dirac_keras.precision import dtype_policy


def randomized(model, seed=0):
    random = np.random.default_rng(seed)
    for variable in model.weights:
        fan_in = max(1.0, np.prod(variable.shape[:-1]))
        is_variance = "variance" in variable.name
        values = random.uniform(0.3, 2.0, variable.shape) if is_variance else random.normal(size=variable.shape)
        variable.assign(values if is_variance else values / np.sqrt(fan_in))
    return model


def chain(inputs, *parts):
    x = inputs
    for part in parts:
        x = part(x)
    return randomized(keras.Model(inputs, x))


def folded_wrongly(monkeypatch, error=1.1):
    """Lets a rule forget a part of the scale."""
    right = rules.kernels.OneKernelRule.scale_kernel_output
    monkeypatch.setattr(
        rules.kernels.OneKernelRule, "scale_kernel_output", lambda self, scale: right(self, scale * error)
    )


# Sizes ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [4, 6])
def test_open_size_is_one_at_which_strided_convolutions_leave_something(count):
    # A valid convolution 3x3 of stride 2 needs 2 n + 1 pixels for n: 6 of them 127. At 32, 4 leave 1 and the 5th none.
    parts = [part for _ in range(count) for part in (layers.Conv2D(4, 3, strides=2), layers.BatchNormalization())]
    model = chain(keras.Input((None, None, 3)), *parts, layers.GlobalAveragePooling2D())
    shape = take_sample(model).shapes[0]
    assert shape == ((4, 32, 32, 3) if count == 4 else (4, 128, 128, 3))
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert not report.note


def test_where_no_size_is_found_nothing_is_verified_and_the_report_says_why():
    pools = [layers.MaxPooling1D() for _ in range(14)]  # 2^14 steps are more than any that is tried
    model = chain(keras.Input((None, 2)), layers.Dense(3), layers.BatchNormalization(), *pools)
    report = fold(model)[1]
    assert report.max_relative_difference is None
    assert report.note.startswith("not verified: no shapes were found")
    assert "\x1b" not in report.note


def test_two_inputs_of_one_size_are_given_one():
    left, right = keras.Input((None, None, 3), name="left"), keras.Input((None, None, 3), name="right")
    convolution, normalization = layers.Conv2D(4, 3), layers.BatchNormalization()
    outputs = layers.Subtract()([normalization(convolution(x)) for x in (left, right)])
    assert fold(randomized(keras.Model([left, right], outputs)))[1].max_relative_difference < 1e-5


def test_two_inputs_of_different_sizes_are_given_such():
    small, large = keras.Input((None, None, 3), name="small"), keras.Input((None, None, 3), name="large")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(large))
    model = keras.Model([small, large], layers.Add()([layers.UpSampling2D()(layers.Conv2D(4, 1)(small)), x]))
    (_, low, _, _), (_, high, _, _) = take_sample(model).shapes
    assert high == 2 * low
    assert fold(randomized(model))[1].max_relative_difference < 1e-5


def test_batch_of_one_input_is_that_of_all():
    left, right = keras.Input(batch_shape=(3, 4)), keras.Input((4,))
    model = keras.Model([left, right], layers.BatchNormalization()(layers.Dense(2)(left + right)))
    assert [shape[0] for shape in take_sample(model).shapes] == [3, 3]


@keras.saving.register_keras_serializable(package="test_verify")
class Positions(layers.Layer):
    """Adds a row of a table of 12 to each step."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(12, input_shape[-1]), initializer="ones")

    def call(self, inputs):
        return inputs + ops.take(self.table, ops.arange(ops.shape(inputs)[1]), axis=0)

    def compute_output_shape(self, input_shape):
        return input_shape


def test_a_size_that_a_table_of_positions_has_no_rows_for_is_not_taken():
    model = chain(keras.Input((None, 3)), Positions(), layers.Dense(2), layers.BatchNormalization())
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert not report.note


@keras.saving.register_keras_serializable(package="test_verify")
class WithMore(layers.Layer):
    """Says that it gives a second output, which is empty unless one asks for it."""

    def call(self, inputs):
        return inputs, inputs[:0]

    def compute_output_shape(self, input_shape):
        return input_shape, (0, *input_shape[1:])


def test_an_empty_tensor_that_nothing_uses_is_no_hindrance():
    inputs = keras.Input((4,))
    x, _ = WithMore()(inputs)
    model = randomized(keras.Model(inputs, layers.BatchNormalization()(layers.Dense(2)(x))))
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert not report.note


# Inputs ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
def test_indices_lie_in_the_table_whatever_their_dtype(dtype):
    inputs = keras.Input((6,), dtype=dtype)
    model = chain(inputs, layers.Reshape((3, 2)), layers.Embedding(5, 4), layers.Dense(3), layers.BatchNormalization())
    sample = take_sample(model)
    (indices,) = keras.tree.flatten(sample.inputs)
    np.testing.assert_array_equal(np.unique(ops.convert_to_numpy(indices)), np.arange(5))
    assert fold(model)[1].max_relative_difference < 1e-5


def test_integers_that_are_no_indices_are_levels_of_an_image():
    model = chain(keras.Input((9, 9, 3), dtype="uint8"), layers.Rescaling(1 / 255), layers.BatchNormalization())
    (images,) = keras.tree.flatten(take_sample(model).inputs)
    assert ops.convert_to_numpy(images).max() > 200


def test_categories_flags_and_words_are_verified():
    numbers = keras.Input((4,), dtype="int32")
    flags = keras.Input((4,), dtype="bool")
    encoded = layers.CategoryEncoding(num_tokens=3, output_mode="multi_hot")(numbers)
    x = layers.Concatenate()([encoded, ops.cast(flags, "float32")])
    model = keras.Model([numbers, flags], layers.BatchNormalization()(layers.Dense(2)(x)))
    assert fold(randomized(model))[1].max_relative_difference < 1e-5


def test_words_are_some_that_lookups_know():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("words are TensorFlow's")
    lookup = layers.StringLookup(vocabulary=["red", "green"])
    model = chain(keras.Input((4,), dtype="string"), lookup, layers.Embedding(3, 2), layers.BatchNormalization())
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert not report.note  # outputs depend on the inputs


def test_words_as_outputs_are_compared():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("words are TensorFlow's")
    inputs = keras.Input((4,), dtype="int32")
    words = layers.IntegerLookup(vocabulary=[0, 1, 2])(inputs)
    names = layers.StringLookup(vocabulary=["a", "b", "c", "d"], invert=True)(words)
    x = layers.BatchNormalization()(layers.Dense(2)(layers.Embedding(5, 3)(words)))
    report = fold(randomized(keras.Model(inputs, [names, x])))[1]
    assert report.max_relative_difference < 1e-5
    assert not report.note


# The original ---------------------------------------------------------------------------------------------
@keras.saving.register_keras_serializable(package="test_verify")
class Faulty(layers.Layer):
    """Random, raising or NaN when it computes."""

    calls = 0

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs):
        return inputs

    def __call__(self, inputs, *args, **kwargs):
        outputs = super().__call__(inputs, *args, **kwargs)
        if isinstance(outputs, keras.KerasTensor):
            return outputs
        Faulty.calls += 1
        if self.kind == "raising":
            raise RuntimeError("no such device")
        return outputs + (np.nan if self.kind == "nan" else float(Faulty.calls))

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("random", "the original gives other outputs when it runs on the same inputs again"),
        ("raising", "the original does not run on random inputs .RuntimeError: .*no such device"),
        ("nan", "the original gives no finite number on random inputs"),
    ],
)
def test_fault_of_the_original_is_said_to_be_that(kind, reason):
    model = chain(keras.Input((4,)), layers.Dense(3), layers.BatchNormalization(), Faulty(kind))
    report = fold(model)[1]
    assert report.max_relative_difference is None
    assert report.note.startswith("not verified: ")
    assert re.search(reason, report.note)
    assert "not verified" in str(report)


def test_weights_that_are_not_finite_are_named():
    model = chain(keras.Input((4,)), layers.Dense(3, name="head"), layers.BatchNormalization(), layers.ReLU())
    model.get_layer("head").kernel.assign(np.full((4, 3), np.nan))
    assert "not finite are its weights head/kernel (12 of 12)" in fold(model)[1].note


def test_outputs_that_do_not_depend_on_the_inputs_are_said_to_say_little():
    model = chain(keras.Input((4,)), layers.Dense(3, name="head"), layers.BatchNormalization())
    model.get_layer("head").kernel.assign(np.zeros((4, 3)))
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert report.note == "the outputs do not depend on the inputs: the comparison says little"


def test_outputs_that_are_infinite_by_design_are_compared_where_they_are_finite():
    model = chain(keras.Input((4,)), layers.Dense(9), layers.BatchNormalization(), layers.ReLU(), ops.log)
    report = fold(model)[1]
    assert report.max_relative_difference < 1e-5
    assert "not all finite" in report.note


# The verdict ----------------------------------------------------------------------------------------------
# 2 % is within what bfloat16 does to a deep network; 50 % is more than where its weights are kept in bfloat16.
@pytest.mark.parametrize(
    ("policy", "error"),
    [("float32", 1.02), ("float64", 1.02), ("mixed_bfloat16", 1.02), ("mixed_float16", 1.02), ("bfloat16", 1.5)],
)
def test_wrong_fold_raises_in_every_precision(policy, error, monkeypatch):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX computes in float64 only if told to at its start")
    with dtype_policy(policy):
        model = chain(keras.Input((8,)), layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(3))
    fold(model)
    folded_wrongly(monkeypatch, error)
    with pytest.raises(RunError, match=r"fold made a wrong model.* of the output's scale"):
        fold(model)


def deep(units=16, depth=30, between=None, **options):
    inputs = x = keras.Input((units,))
    for _ in range(depth):
        x = layers.BatchNormalization()(layers.Dense(units, use_bias=False)(x if between is None else between(x)))
    return randomized(keras.Model(inputs, layers.Dense(4, **options)(x)))


@pytest.mark.parametrize(("policy", "depth"), [("mixed_bfloat16", 6), ("bfloat16", 2), ("mixed_float16", 6)])
@pytest.mark.parametrize("trainable", [True, False])
def test_what_rounding_does_in_half_precision_is_no_wrong_fold(policy, depth, trainable):
    with dtype_policy(policy):
        model = deep(between=lambda x: ops.sin(2.0 * x), depth=depth)
    model.trainable = trainable
    expected = take_sample(model)
    folded, _ = fold(model, verify=False)
    own = Difference.of_all(expected.outputs, verify.run(folded, expected.inputs)).relative
    assert own > {"mixed_float16": 1e-3}.get(policy, 4e-3)  # so that there is something to explain
    assert fold(model)[1].max_relative_difference == own


def test_numbers_that_are_rounded_and_no_weights_are_no_wrong_fold():
    # (x - mean) / sqrt(variance) becomes a Rescaling, whose numbers bfloat16 rounds by up to 2^-9, about 0.2 %.
    with dtype_policy("mixed_bfloat16"):
        scaling = layers.Normalization(mean=[0.111, 0.333, -0.777], variance=[1.111, 0.555, 0.222])
        model = chain(keras.Input((3,)), layers.BatchNormalization(), scaling, layers.BatchNormalization())
    assert fold(model)[1].normalizations_after == 0


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
def test_where_rounding_may_do_anything_nothing_is_said_to_be_verified(trainable):
    model = deep(between=lambda x: ops.sin(20.0 * x), depth=12)  # chaotic: 1e-7 becomes 1
    model.trainable = trainable
    report = fold(model)[1]
    assert report.max_relative_difference is None
    assert "not verified: rounding each weight anew moves the outputs by" in report.note


def test_weight_that_half_precision_cannot_hold_is_found():
    # The kernel, 1, times the scale, 1 / sqrt(1e-12) = 1e6, is more than 65504, the largest float16.
    with dtype_policy("mixed_float16"):
        inputs = keras.Input((4,))
        dense = layers.Dense(3, use_bias=False, kernel_initializer="ones")
        model = keras.Model(inputs, layers.BatchNormalization(epsilon=1e-12)(dense(inputs * 1e-4)))
    model.layers[-1].moving_variance.assign(np.zeros(3))
    with pytest.raises(RunError, match="right in float32 and not in float16"):
        fold(model)


def test_folded_model_that_does_not_run_is_a_wrong_one():
    model = chain(keras.Input((4,)), layers.Dense(3), layers.BatchNormalization())
    sample = take_sample(model)
    other = chain(keras.Input((5,)), layers.Dense(3))
    with pytest.raises(RunError, match="fold made a wrong model: it does not run"):
        verify.compare(sample, model, other)
