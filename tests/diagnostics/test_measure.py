"""What a network is told about itself, against numbers worked by hand, on any graph."""

import gc
import json
import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.diagnostics import QUANTITIES, collect_responses, measure, missing_lines
from dirac_keras.diagnostics.taps import Network, activation_of, unchanged
from dirac_keras.layers import BatchNormalization, DiracConv2D, DiracDense
from dirac_keras.models import build_diracnet

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow's tf.data")


def chain(input_shape, *parts):
    x = inputs = keras.Input(input_shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def images(count, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def dense(kernel, bias=None, name=None, activation=None):
    """A layer with given numbers, `(inputs, units)`."""
    kernel = np.asarray(kernel, "float32")
    start = (
        keras.initializers.Constant(0.0) if bias is None else lambda shape, dtype: ops.convert_to_tensor(bias, dtype)
    )
    return layers.Dense(
        kernel.shape[1],
        activation=activation,
        kernel_initializer=lambda shape, dtype: ops.convert_to_tensor(kernel, dtype),
        bias_initializer=start,
        name=name,
    )


def record(diagnosis, name):
    return next(layer for layer in diagnosis.layers if layer.name == name)


def numbers(value, path=""):
    """Every number of a `to_dict`, by path."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in numbers(item, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in numbers(item, f"{path}/{n}").items()}
    return {path: value}


def assert_equal_numbers(one, other, rtol):
    one, other = (numbers({**d.to_dict(), "seconds": 0, "model": "", "peak_rows": 0}) for d in (one, other))
    assert one.keys() == other.keys()
    for path, value in one.items():
        assert other[path] == (pytest.approx(value, rel=rtol, abs=1e-7) if isinstance(value, float) else value), path


# Which tensor is the response of a layer's units -----------------------------------------------------------
RESPONSES = {
    "alone": ([lambda: layers.Dense(3, name="d")], ("d",), "linear"),
    "fused": ([lambda: layers.Dense(3, activation="tanh", name="d"), lambda: BatchNormalization()], ("d",), "tanh"),
    "layer": ([lambda: layers.Dense(3, name="d"), lambda: layers.ReLU(name="r")], ("d", "r"), "relu"),
    "raw_operation": ([lambda: layers.Dense(3, name="d"), lambda: ops.relu], ("d", "relu"), "relu"),
    "normalized": (
        [lambda: layers.Dense(3, name="d"), lambda: BatchNormalization(name="b"), lambda: layers.LeakyReLU(name="r")],
        ("d", "b", "r"),
        "leaky_relu",
    ),
    "normalized_without_activation": (
        [lambda: layers.Dense(3, name="d"), lambda: layers.BatchNormalization(name="b"), lambda: layers.Dropout(0.5)],
        ("d", "b"),
        "linear",
    ),
    "nothing_direct": (
        [lambda: layers.Dense(3, name="d"), lambda: layers.Reshape((3, 1)), lambda: layers.ReLU()],
        ("d",),
        "linear",
    ),
    "activation_object": ([lambda: layers.Dense(3, activation=layers.ReLU(), name="d")], ("d",), "relu"),
    "linear_activation_layer": (
        [
            lambda: layers.Dense(3, name="d"),
            lambda: layers.Activation("linear", name="i"),
            lambda: layers.ELU(name="r"),
        ],
        ("d", "i", "r"),
        "elu",
    ),
}


@pytest.mark.parametrize("case", RESPONSES)
def test_response_of_a_unit_is_behind_its_normalization_and_activation(case):
    parts, path, activation = RESPONSES[case]
    tail = (layers.Flatten(), layers.Dense(2, name="head"))
    tap = Network(chain((4,), *(part() for part in parts), *tail)).taps[0]
    assert (len(tap.layers), tap.activation.name) == (len(path), activation)
    assert all(have == want or want == "relu" for have, want in zip(tap.layers, path, strict=True))


def test_branch_takes_the_tensor_that_all_read():
    x = keras.Input((4,))
    y = layers.Dense(4, name="d")(x)
    model = keras.Model(x, layers.Dense(2, name="head")(layers.Add()([layers.ReLU()(y), y])))
    assert [(tap.layers, tap.activation.name) for tap in Network(model).taps] == [
        (("d",), "linear"),
        (("head",), "linear"),
    ]


def test_each_convolution_of_a_diracnet_is_measured_behind_the_next_relu():
    taps = Network(build_diracnet(10, 0.25, input_shape=(8, 8, 1))).taps
    assert taps[0].layers == ("conv1", "conv1_bn", "group1_block1_relu")
    assert taps[2].layers[-2:] == ("group2_pool", "group2_block1_relu")
    assert [tap.activation.name for tap in taps] == ["relu"] * 7 + ["linear"]
    assert [tap.is_output for tap in taps] == [False] * 7 + [True]


def test_shared_layer_is_named_once_a_call_and_nested_layers_by_path():
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense"), layers.ReLU()], name="inner")
    model = chain((4,), shared, inner, shared)
    assert [tap.name for tap in Network(model).taps] == ["shared", "inner/dense", "shared#2"]
    first, _, second = measure(model, images(8, 4)).layers
    assert first.weights == second.weights and first.activations != second.activations


def test_run_gives_what_the_model_gives():
    inner = chain((4, 4, 2), layers.Conv2D(3, 3, padding="same"), BatchNormalization(), layers.ReLU())
    x = keras.Input((4, 4, 2))
    y = layers.Concatenate()([inner(x), ops.tanh(inner(x)) * 2.0])
    model = keras.Model(x, layers.Dense(2, activation="softmax")(layers.Flatten()(layers.Dropout(0.5)(y))))
    batch = images(5, 4, 4, 2)
    (outputs,) = Network(model).run([batch])
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), model.predict(batch, verbose=0), rtol=1e-5, atol=1e-7)


def test_layers_with_weights_of_unknown_meaning_are_said():
    model = chain((6, 3), layers.LSTM(4, name="lstm"), layers.Dense(2, name="head"))
    (missing,) = measure(model, images(8, 6, 3), ["weights"]).not_measured
    assert (missing.layer, missing.what) == ("lstm", "responses") and "LSTM holds weights" in missing.why


def test_a_class_of_unknown_type_is_passed_by():
    class Unknown(layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    diagnosis = measure(chain((4,), layers.Dense(3, name="d"), Unknown(), layers.Dense(2)), images(8, 4))
    assert record(diagnosis, "d").layers == ("d",)


def test_activation_functions_that_only_share_a_name_are_not_mistaken():
    def relu(x):
        return x

    assert activation_of(relu).name == "custom: relu"
    assert activation_of(keras.activations.relu).name == "relu"
    assert activation_of(layers.ReLU(negative_slope=0.1)).name == "leaky_relu"
    assert activation_of(keras.activations.linear) is None


# Activations ------------------------------------------------------------------------------------------------
def two_units():
    """Units 1 and 2 give x and -2 x; x is 1 and 3: mean (1 + 3 - 2 - 6) / 4 = -1."""
    model = chain((1,), dense([[1.0, -2.0]], name="d"), dense([[1.0], [1.0]], name="head"))
    return measure(model, np.array([[1.0], [3.0]], "float32"), thresholds=(0, 1.5, 5.0))


def test_activation_statistics_by_hand():
    found = record(two_units(), "d").activations
    assert found.responses == 2
    assert found.mean == -1.0 and found.mean_absolute == 3.0 and found.max_absolute == 6.0
    assert found.unit_means == (2.0, -4.0)
    assert found.std == pytest.approx(np.std([1.0, 3.0, -2.0, -6.0]), rel=1e-15)
    assert found.share_above == {0: 1.0, 1.5: 0.75, 5.0: 0.25}
    assert found.units_above == {0: 1.0, 1.5: 1.0, 5.0: 0.0}  # the units' means of abs(h) are 2 and 4
    assert found.dead_units is None and found.constant_units == 0.0


def test_normalized_mean_is_by_the_largest_unit_mean_of_all_hidden_layers():
    """d: means 2 and -4, layer mean -1. e: means 20 and 0, layer mean 10. The head's 1000 does not count."""
    model = chain(
        (1,),
        dense([[1.0, -2.0]], name="d"),
        dense([[10.0, 0.0], [0.0, 0.0]], name="e"),
        dense([[50.0], [0.0]], name="head"),
    )
    diagnosis = measure(model, np.array([[1.0], [3.0]], "float32"), "activations")
    assert record(diagnosis, "d").activations.normalized_mean == -1.0 / 20.0
    assert record(diagnosis, "e").activations.normalized_mean == 10.0 / 20.0
    assert record(diagnosis, "head").activations.normalized_mean is None


def test_dead_relu_units_are_counted():
    """Of 4 units two have a bias that no input lifts above 0."""
    kernel, bias = np.ones((1, 4)), np.array([0.0, -9.0, 1.0, -9.0], "float32")
    model = chain((1,), dense(kernel, bias, "d", "relu"), layers.Dense(2))
    found = record(measure(model, np.array([[1.0], [2.0], [-1.0]], "float32")), "d")
    assert found.activations.dead_units == found.activations.constant_units == 0.5
    assert found.spectrum.zero_units == 0.5


def test_dead_is_not_defined_for_leaky_units():
    model = chain((1,), dense([[-1.0]]), layers.LeakyReLU(), layers.Dense(2))
    assert measure(model, np.array([[1.0], [2.0]], "float32")).layers[0].activations.dead_units is None


def test_saturation_is_within_one_percent_of_the_bounds_width():
    """tanh's width is 2: above 0.98 is saturated. tanh(2) = 0.964 is not, tanh(3) = 0.995 is."""
    model = chain((1,), dense([[1.0, 2.0]], name="d", activation="tanh"), layers.Dense(2))
    found = record(measure(model, np.array([[2.0], [3.0]], "float32")), "d").activations
    assert found.saturated_responses == 0.75 and found.saturated_units == 0.5


def test_relu6_saturates_at_the_top_only():
    model = chain((1,), dense([[1.0, -1.0]]), layers.ReLU(max_value=6.0), layers.Dense(2))
    found = measure(model, np.array([[6.0], [7.0]], "float32")).layers[0].activations
    assert found.saturated_units == 0.5 and found.dead_units == 0.5


def test_verdicts_leave_the_classifier_out():
    model = chain((3,), layers.Dense(3, activation="relu"), layers.Dense(2, activation="softmax"))
    head = measure(model, images(8, 3)).layers[-1]
    assert head.is_output and head.activations.max_absolute <= 1
    assert head.activations.saturated_units is None and head.activations.dead_units is None


def test_positions_of_a_convolution_are_samples_of_its_channel():
    model = chain(
        (2, 2, 1), layers.Conv2D(1, 1, kernel_initializer="ones", name="c"), layers.Flatten(), layers.Dense(2)
    )
    found = record(measure(model, np.arange(8, dtype="float32").reshape(2, 2, 2, 1)), "c")
    assert found.units == 1 and found.activations.responses == 8
    assert found.activations.mean == 3.5 and found.spectrum.samples == 8


@on_tensorflow
def test_channels_first_units_are_the_second_axis():
    model = chain((2, 3, 4), layers.Permute((2, 3, 1)), layers.Conv2D(5, 1, name="c"))
    tap = Network(model).taps[0]
    first = type(tap)(**{**vars(tap), "unit_axis": 1})
    assert first.matrix(ops.ones((2, 5, 3, 4))).shape == (2, 12, 5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_of_any_size_give_the_same_as_all_at_once(batch_size):
    parts = DiracConv2D(3, 3, padding="same"), BatchNormalization(), layers.ReLU(), layers.Flatten()
    model = chain((4, 4, 2), layers.Conv2D(3, 3, padding="same"), *parts, layers.Dense(3))
    data = images(20, 4, 4, 2), np.arange(20) % 3
    whole = measure(model, data, batch_size=20, gradient_samples=20)
    # float32 products of other block sizes round in another order
    assert_equal_numbers(whole, measure(model, data, batch_size=batch_size, gradient_samples=20), rtol=2e-3)


@on_tensorflow
def test_a_dataset_gives_the_same_as_arrays():
    import tensorflow as tf

    model = chain((4,), layers.Dense(5, activation="relu"), layers.Dense(3))
    x, y = images(20, 4), np.arange(20) % 3
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    assert_equal_numbers(measure(model, (x, y), batch_size=8), measure(model, dataset), rtol=1e-6)
    assert measure(model, x).samples == measure(model, [x[:15], x[15:]]).samples == 20


def test_a_generator_is_enough():
    model = chain((4,), layers.Dense(5, activation="relu"), layers.Dense(3))
    x, y = images(20, 4), np.arange(20) % 3
    once = measure(model, ((x[k : k + 5], y[k : k + 5]) for k in range(0, 20, 5)))
    assert_equal_numbers(once, measure(model, (x, y), batch_size=5), rtol=1e-6)


def test_a_py_dataset_ends():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return images(4, 4, seed=index)

    assert measure(chain((4,), layers.Dense(2)), Batches(), "activations").samples == 12


def test_progress_is_told_the_images_done():
    told = []
    measure(chain((4,), layers.Dense(2)), images(20, 4), batch_size=8, progress=told.append)
    assert told == [8, 16, 20]


# What is not finite, not known, not possible ----------------------------------------------------------------
def test_nan_is_named_by_its_first_layer_and_gives_no_numbers():
    model = chain((2,), layers.Dense(3, name="a"), layers.Dense(3, name="b"), layers.Dense(2, name="head"))
    kernel = np.ones((3, 3), "float32")
    kernel[0, 0] = np.nan
    model.get_layer("b").kernel.assign(kernel)
    diagnosis = measure(model, (images(8, 2), np.arange(8) % 2))
    assert diagnosis.first_non_finite == "b"
    assert record(diagnosis, "a").activations is not None
    assert record(diagnosis, "a").activations.normalized_mean is None
    for name in ("b", "head"):
        assert record(diagnosis, name).activations is None and record(diagnosis, name).spectrum is None
    assert {(m.layer, m.what) for m in diagnosis.not_measured} >= {("b", "activations"), ("b", "weights")}
    assert "nan" not in json.dumps(diagnosis.to_dict()["layers"])


def test_nan_in_the_images_is_said():
    x = images(8, 2)
    x[7, 1] = np.inf
    assert measure(chain((2,), layers.Dense(2)), x, batch_size=4).first_non_finite == "inputs"


def test_to_dict_is_json_with_infinity_as_text():
    model = chain((1,), dense([[1.0, 2.0]]), layers.Dense(2))
    shown = json.loads(json.dumps(measure(model, images(8, 1)).to_dict(), allow_nan=False))
    assert shown["layers"][0]["spectrum"]["condition_number"] == "inf"
    assert "unit_means" not in shown["layers"][0]["activations"]


def test_fewer_samples_than_units_give_no_condition_number_and_say_so():
    diagnosis = measure(chain((4,), layers.Dense(6, name="d"), layers.Dense(2)), images(4, 4), "spectrum")
    assert record(diagnosis, "d").spectrum.condition_number is None
    assert ("d", "condition_number") in {(m.layer, m.what) for m in diagnosis.not_measured}


def test_more_units_than_are_held_are_sampled_and_it_is_said():
    model = chain((6,), layers.Dense(40, activation="relu", name="wide"), layers.Dense(3, name="head"))
    diagnosis = measure(model, images(30, 6), quantities="spectrum", max_units=8)
    assert (record(diagnosis, "wide").spectrum.units, record(diagnosis, "head").spectrum.units) == (8, 3)
    (line,) = (line for line in missing_lines(diagnosis) if line.startswith("of a part"))
    assert "8 units, drawn at random, of wide (40)" in line and "head" not in line


def test_images_alone_give_no_gradients_and_say_so():
    (missing,) = measure(chain((2,), layers.Dense(2)), images(8, 2)).not_measured
    assert (missing.what, missing.why) == ("gradients", "the data have no labels")


def test_weights_need_no_data():
    diagnosis = measure(chain((2,), layers.Dense(2)), quantities=["weights", "scales"])
    assert diagnosis.layers[0].weights and diagnosis.samples == 0


def test_measuring_changes_nothing():
    """Not even the state of a layer that was called with training=True."""
    norm = layers.BatchNormalization()
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(norm(layers.Dense(4)(x), training=True), training=True)
    model = keras.Model(x, layers.Dense(2)(y))
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    nodes = len(norm._inbound_nodes)
    measure(model, (images(8, 4), np.arange(8) % 2))
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
    assert len(norm._inbound_nodes) == nodes
    with unchanged(network := Network(model)):
        network.run([images(8, 4)], training=(layers.BatchNormalization,))
        assert np.any(ops.convert_to_numpy(norm.moving_mean) != 0)  # it does move inside


def test_mixed_bfloat16_is_measured():
    keras.config.set_dtype_policy("mixed_bfloat16")
    parts = BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(3, dtype="float32")
    model = chain((4, 4, 1), DiracConv2D(3, 3, padding="same"), *parts)
    diagnosis = measure(model, (images(8, 4, 4, 1), np.arange(8) % 3))
    assert {m.what for m in diagnosis.not_measured} == set()
    first = diagnosis.layers[0].spectrum
    # 10 * 2^-7 * norm * (1 / sqrt(units) + 1 / sqrt(samples)): bfloat16's epsilon, not float32's
    norm = np.linalg.norm(first.singular_values)
    assert first.tolerance == pytest.approx(10 / 128 * norm * (first.units**-0.5 + first.samples**-0.5))


def test_several_inputs_by_name_or_order():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, b])))
    x = {"b": images(8, 3), "a": images(8, 2)}
    y = np.arange(8) % 2
    assert_equal_numbers(measure(model, (x, y)), measure(model, ([x["a"], x["b"]], y)), rtol=1e-6)


def test_dirac_layers_have_scales():
    model = chain((3, 3, 4), DiracConv2D(4, 3, padding="same", name="c"), layers.Flatten(), DiracDense(2))
    layer = model.get_layer("c")
    layer.identity_scale.assign([1.0, 0.001, 1.0, 1.0])
    layer.filter_scale.assign([0.1, 0.1, -0.002, 0.3])
    found = record(measure(model, quantities="scales"), "c").scales
    assert (found.weak_identities, found.weak_filters, found.degraded_filters) == (0.25, 0.25, 0.5)
    assert found.filter_scale_mean == pytest.approx(0.1245) and found.filter_scale_min == pytest.approx(0.002)
    assert measure(chain((2,), layers.Dense(2)), quantities="scales").layers[0].scales is None


# Mistakes ---------------------------------------------------------------------------------------------------
class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def small():
    return chain((4,), layers.Dense(3))


MISTAKES = {
    "no_model": (lambda: measure("model", images(4, 4)), "model must be a keras.Model. Received str"),
    "not_built": (lambda: measure(keras.Sequential([layers.Dense(2)]), images(4, 4)), "is not built"),
    "subclassed": (lambda: measure(Subclassed(), images(4, 4)), "subclassed model"),
    "no_weights": (lambda: measure(chain((4,), layers.ReLU()), images(4, 4)), "has no weights"),
    "no_data": (lambda: measure(small()), "data must be arrays or an iterable"),
    "number": (lambda: measure(small(), 3), "data must be arrays or an iterable"),
    "not_iterable": (lambda: measure(small(), object()), "data must be arrays or an iterable"),
    "empty": (lambda: measure(small(), images(0, 4)), "data is empty"),
    "empty_iterable": (lambda: measure(small(), []), "data is empty"),
    "no_numbers": (lambda: measure(chain((None, 4), layers.Dense(3)), images(4, 0, 4)), r"Received .*\(4, 0, 4\)"),
    "one_sample": (lambda: measure(small(), images(1, 4)), "at least 2 images, to be compared. Received 1"),
    "shape": (lambda: measure(small(), images(4, 5)), r"images of shape \(None, 4\), .* Received \(4, 5\)"),
    "unbatched": (lambda: measure(small(), list(images(4, 4))), r"Received \(4,\)"),
    "lengths": (lambda: measure(small(), (images(4, 4), np.zeros(3, int))), "different lengths"),
    "labels_high": (lambda: measure(small(), (images(4, 4), np.array([0, 1, 2, 3]))), "from 0 to 2.* Received 3"),
    "labels_low": (lambda: measure(small(), (images(4, 4), np.array([0, 1, 2, -1]))), "from 0 to 2.* Received -1"),
    "one_hot": (lambda: measure(small(), (images(3, 4), np.eye(3))), "whole class numbers .* loss="),
    "quantity": (lambda: measure(small(), images(4, 4), "colour"), "quantities must be among .*colour"),
    "threshold": (lambda: measure(small(), images(4, 4), thresholds=(-1,)), "thresholds must be finite .*-1"),
    "units": (lambda: measure(small(), images(4, 4), max_units=0), "max_units must be a whole number of 1 .*=0"),
    "samples": (lambda: measure(small(), images(4, 4), gradient_samples=1), "gradient_samples must .* of 2 .*=1"),
    "loss": (lambda: measure(small(), images(4, 4), loss="mse"), "loss must be a function .* Received loss='mse'"),
    "batch_size": (lambda: measure(small(), images(4, 4), batch_size=0), "batch_size must be a whole number above 0"),
    "start": (lambda: measure(small(), quantities="weights", initial_weights=[]), "initial_weights must .* 0 arrays"),
    "layer": (lambda: collect_responses(small(), images(4, 4), ["x"]), r"layers must be from 1 to 1 .*Received 'x'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_error(case):
    call, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        call()


@on_tensorflow
def test_endless_data_are_refused():
    import tensorflow as tf

    with pytest.raises(ValueError, match="data never ends"):
        measure(small(), tf.data.Dataset.from_tensor_slices(images(4, 4)).batch(2).repeat())


# Responses --------------------------------------------------------------------------------------------------
def test_responses_are_units_by_samples_in_the_order_of_the_classes():
    model = chain((1,), dense([[1.0, -1.0]], name="d", activation="relu"), layers.Dense(2))
    x, y = np.array([[1.0], [-2.0], [3.0]], "float32"), np.array([1, 0, 0])
    (found,) = collect_responses(model, (x, y), ["d"], batch_size=2)
    np.testing.assert_array_equal(found.matrix, [[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]])
    np.testing.assert_array_equal(found.labels, [0, 0, 1])
    assert not found.samples_sampled and not found.units_sampled


def test_responses_are_bounded_and_the_same_samples_for_every_layer():
    model = chain((1,), dense([[1.0]], name="a"), dense([[2.0]], name="b"), layers.Dense(2))
    x = np.arange(500, dtype="float32")[:, None]
    a, b = collect_responses(model, x, ["a", 2], max_samples=40, batch_size=13)
    assert a.samples_sampled and a.matrix.shape == (1, 40) and a.labels is None
    np.testing.assert_array_equal(2 * a.matrix, b.matrix)
    assert len(set(a.matrix[0])) == 40 and a.matrix.max() > 250  # not the first forty


def test_the_network_is_run_to_the_last_wanted_layer_only():
    class Counter(layers.Layer):
        calls = 0

        def call(self, inputs):
            Counter.calls += 1
            return inputs

    model = chain((2,), layers.Dense(2, name="a"), Counter(), layers.Dense(2))
    Counter.calls = 0
    collect_responses(model, images(4, 2), ["a"], batch_size=2)
    assert Counter.calls == 1  # to read the graph


# Memory and backends ----------------------------------------------------------------------------------------
def test_no_more_than_a_few_blocks_of_a_layer_are_held():
    """2,000 images of 40 units: at most 2 * 40 rows, or the 256 of the smallest block, wait at a time."""
    model = chain((4,), *(layers.Dense(40) for _ in range(3)), layers.Dense(2))
    assert measure(model, images(2000, 4), batch_size=100).peak_rows == 256


@pytest.mark.slow
def test_tensors_are_let_go_when_the_last_layer_has_read_them():
    network = Network(chain((4,), *(layers.Dense(5, activation="relu") for _ in range(10))))
    alive, references = [], []

    def visit(tap, response):
        gc.collect()
        alive.append(sum(reference() is not None for reference in references))
        references.append(weakref.ref(response))

    network.run([images(3, 4)], visit)
    assert max(alive) <= 1  # the layer's input


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images():
    import tracemalloc

    model = chain((8,), *(layers.Dense(32) for _ in range(10)), layers.Dense(2))
    measure(model, images(256, 8))
    peaks = []
    for count in (1000, 8000):
        x = images(count, 8)
        tracemalloc.start()
        measure(model, x, ["activations", "spectrum"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    everything = 8000 * 32 * 10 * 4  # bytes of all responses
    assert peaks[1] < 1.5 * peaks[0] and peaks[1] < everything / 4  # of eight times the images


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares TensorFlow with a process of JAX")
def test_jax_measures_the_same(tmp_path):
    pytest.importorskip("jax")
    inner = chain((4, 4, 3), BatchNormalization(), layers.ReLU(), DiracConv2D(3, 3, padding="same"))
    model = chain((4, 4, 1), layers.Conv2D(3, 3, padding="same"), inner, layers.Flatten(), layers.Dense(3))
    model.save(tmp_path / "model.keras")
    x, y = images(12, 4, 4, 1), np.arange(12) % 3
    np.savez(tmp_path / "data.npz", x=x, y=y)
    code = """
import json, sys, keras, numpy as np
import dirac_keras.layers
from dirac_keras.diagnostics import measure
model = keras.models.load_model(sys.argv[1] + "/model.keras")
data = np.load(sys.argv[1] + "/data.npz")
print(json.dumps(measure(model, (data["x"], data["y"])).to_dict()))
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    there = numbers(json.loads(process.stdout)["layers"])
    here = numbers(measure(model, (x, y)).to_dict()["layers"])
    assert there.keys() == here.keys() and len(here) > 80
    for path, value in here.items():
        # float32 kernels of two libraries; condition numbers magnify their rounding
        wanted = pytest.approx(value, rel=5e-3, abs=1e-5) if isinstance(value, float) else value
        assert there[path] == wanted, path


def test_package_imports_without_tensorflow():
    code = """
import sys
sys.modules["tensorflow"] = None
import numpy as np, keras
from dirac_keras.diagnostics import measure
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
print(len(measure(model, (np.ones((4, 3)), np.arange(4) % 2)).layers))
"""
    pytest.importorskip("jax")
    environment = {"KERAS_BACKEND": "jax", "PATH": ""}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert process.stdout.strip() == "2", process.stderr


def test_quantities_are_the_records_fields():
    diagnosis = measure(small(), (images(8, 4), np.arange(8) % 3))
    assert all(hasattr(diagnosis.layers[0], name) for name in QUANTITIES)
