"""The folded model lives on like any other: it is saved, loaded, cloned, exported, folded again, whatever is in it."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.folding import fold
from dirac_keras.layers import BatchNormalization, DiracConv2D, DiracDense
from tests.folding.helpers import TOLERANCE, assert_all_folds, chain, randomize, relative_difference


def assert_lives(model, tmp_path, custom_objects=None, is_cloned=True, tolerance=TOLERANCE):
    """Folds a model, and what a user does with one is done with the folded one. Returns: it and the report."""
    folded, report = fold(model)
    assert relative_difference(model, folded) < tolerance
    assert [x.dtype for x in folded.outputs] == [x.dtype for x in model.outputs]
    folded.save(tmp_path / "folded.keras")
    loaded = keras.models.load_model(tmp_path / "folded.keras", custom_objects)
    assert relative_difference(folded, loaded) == 0.0
    if is_cloned:
        with keras.saving.custom_object_scope(custom_objects or {}):
            clone = keras.models.clone_model(folded)
        folded.save_weights(tmp_path / "folded.weights.h5")
        clone.load_weights(tmp_path / "folded.weights.h5")
        assert relative_difference(folded, clone) == 0.0
    again, second = fold(loaded)
    assert second.folded == ()
    assert relative_difference(folded, again) == 0.0
    return folded, report


def nested_output():
    x = keras.Input((6,))
    inner = keras.Model(x, layers.BatchNormalization(name="norm")(x), name="inner")
    y = keras.Input((6,))
    return keras.Model(y, inner(layers.Dense(6)(y)))


def dict_outputs():
    x = keras.Input((6, 6, 3), name="image")
    y = layers.Conv2D(4, 3)(x)
    return keras.Model({"image": x}, {"a": layers.BatchNormalization(name="a")(y), "b": layers.ReLU(name="b")(y)})


def sum_in_float64():
    x = keras.Input((4,), dtype="float64")
    total = keras.ops.add(layers.Dense(3, dtype="float64")(x), layers.Dense(3, dtype="float64")(x))
    return keras.Model(x, layers.BatchNormalization(dtype="float64")(total))


MODELS = {
    "output": lambda: chain((8, 8, 3), layers.Conv2D(4, 3), layers.BatchNormalization()),
    "outputs_in_a_dict": dict_outputs,
    "output_of_a_nested_model": nested_output,
    "sequential": lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()]),
    "nothing_left": lambda: chain((4,), layers.Dense(4), keras.Sequential([layers.BatchNormalization()])),
    "cast_to_float32": lambda: chain((4,), layers.Dense(3, dtype="mixed_bfloat16"), layers.BatchNormalization()),
    "cast_to_float64": lambda: chain((4,), layers.Dense(3), layers.BatchNormalization(dtype="float64"), layers.ReLU()),
    "policy_as_object": lambda: chain(
        (4,), layers.Identity(dtype=keras.DTypePolicy("float64")), layers.Dense(3), layers.BatchNormalization()
    ),
    "uint8_before": lambda: chain((8, 8, 3), layers.BatchNormalization(), layers.Conv2D(4, 3), dtype="uint8"),
    "uint8_before_dirac": lambda: chain((6,), BatchNormalization(), DiracDense(4), dtype="uint8"),
    "int32_in_a_sequential": lambda: keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.BatchNormalization(), layers.Dense(3)]
    ),
    "float64_sum": sum_in_float64,
    "uint8_pooled": lambda: chain(
        (8, 8, 3),
        layers.MaxPooling2D(),
        layers.Dropout(0.5),
        layers.BatchNormalization(),
        layers.Conv2D(4, 3),
        dtype="uint8",
    ),
    "int32_into_a_dirac_convolution": lambda: chain(
        (8, 8, 4), DiracConv2D(4, 3), layers.BatchNormalization(), dtype="int32"
    ),
    "uint8_into_a_dirac_convolution_in_a_sequential": lambda: keras.Sequential(
        [keras.Input((8, 8, 4), dtype="uint8"), layers.ZeroPadding2D(), DiracConv2D(4, 3, name="stem")]
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_folded_model_is_saved_loaded_cloned_and_folded_again(name, tmp_path):
    model = randomize(MODELS[name]())
    # bfloat16 has 8 bits
    folded, report = assert_lives(model, tmp_path, tolerance=0.02 if name == "cast_to_float32" else TOLERANCE)
    assert report.normalizations_after == len(report.kept)
    assert all(type(layer).__module__.startswith("keras.") for layer in folded.layers)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel from JAX takes minutes")
def test_folded_model_is_exported(tmp_path):
    model = chain((4,), layers.BatchNormalization(), layers.Dense(3), layers.BatchNormalization(), dtype="uint8")
    folded, _ = fold(model)
    folded.export(tmp_path / "served", verbose=False)
    served = keras.layers.TFSMLayer(tmp_path / "served", call_endpoint="serve")
    values = np.random.default_rng(0).integers(0, 255, (3, 4)).astype("uint8")
    np.testing.assert_allclose(served(values), model(values), rtol=1e-4, atol=1e-4)


def test_integers_stay_cast_where_the_normalization_goes():
    model = chain((3,), layers.BatchNormalization(name="norm"), layers.Dense(2), dtype="uint8")
    folded, _ = assert_all_folds(model)
    assert [type(layer) for layer in folded.layers[1:]] == [layers.Rescaling, layers.Dense]
    assert folded.layers[1].name == "norm"
    assert folded.layers[1](np.array([[255, 1, 0]], "uint8")).dtype == "float32"


@pytest.mark.parametrize("name", ["fresh", "loaded"])
def test_layers_that_do_not_change_are_copied_whether_fresh_or_loaded(name, tmp_path):
    parts = [layers.Dense(4), layers.EinsumDense("abc,cd->abd", (5, 3), bias_axes="d"), layers.LSTM(3), layers.Dense(2)]
    model = chain((5, 4), *parts)
    if name == "loaded":
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    assert fold(model)[1].shared == ()


def test_cast_of_an_addition_that_goes_stays():
    from dirac_keras.layers import VariableSkip

    x = keras.Input((4,))
    skip = VariableSkip(dtype="bfloat16")
    y = layers.Dense(4, dtype="bfloat16")(x)
    model = keras.Model(x, layers.Add(dtype="float32")([y, skip(y)]))
    skip.alpha.assign(np.ones(skip.alpha.shape))
    folded, _ = fold(model)
    assert folded.outputs[0].dtype == "float32"
    assert len(folded.layers) == 3  # input, Dense, and the cast


# Functions and objects that Keras cannot serialize --------------------------------------------------------
def my_activation(x):
    return keras.ops.relu(x) * 1.1


class Tens(keras.initializers.Initializer):
    """Not registered."""

    def __call__(self, shape, dtype=None):
        return 10.0 * keras.ops.ones(shape, dtype)


def sum_of_squares(weights):
    return 0.01 * keras.ops.sum(keras.ops.square(weights))


def test_python_function_as_activation_stays(tmp_path):
    model = chain((4,), layers.Dense(4), layers.BatchNormalization(), layers.Activation(my_activation), layers.Dense(2))
    folded, report = assert_lives(model, tmp_path, {"my_activation": my_activation})
    assert folded.layers[2].activation is my_activation
    assert report.shared == ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_initializer": Tens()},
        {"kernel_initializer": lambda shape, dtype=None: keras.ops.ones(shape, dtype), "bias_initializer": Tens()},
        {"kernel_initializer": functools.partial(keras.ops.ones, dtype="float32")},
    ],
)
def test_unknown_initializers_are_not_needed(arguments, tmp_path):
    model = chain((4,), layers.Dense(4, **arguments), layers.BatchNormalization(), layers.Dense(3, **arguments))
    folded, report = assert_lives(model, tmp_path)
    assert report.kept == report.shared == ()
    assert isinstance(folded.layers[1].kernel_initializer, keras.initializers.GlorotUniform)


@pytest.mark.parametrize("regularizer", [sum_of_squares, lambda weights: sum_of_squares(weights)])
def test_function_as_regularizer_stays(regularizer):
    model = chain((4,), layers.Dense(4, kernel_regularizer=regularizer), layers.BatchNormalization())
    folded, _ = assert_all_folds(model)
    assert folded.layers[1].kernel_regularizer is regularizer
    assert keras.ops.convert_to_numpy(folded.losses[0]) > 0


@pytest.mark.parametrize(
    "activation",
    [my_activation, lambda x: my_activation(x), functools.partial(keras.activations.relu, negative_slope=0.3)],
)
def test_layer_that_folds_keeps_a_function_as_activation(activation):
    model = chain((6,), layers.BatchNormalization(), layers.Dense(4, activation=activation))
    folded, report = assert_all_folds(model)
    assert folded.layers[1].activation is activation
    assert report.shared == ()


class Handing(layers.Dense):
    """Its constructor names none of what it hands on."""

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)


@pytest.mark.parametrize("kind", [Handing, DiracDense])
def test_functions_that_a_constructor_hands_on_stay(kind):
    def bend(x):
        return x * 0.5

    arguments = {"activation": bend, "bias_regularizer": sum_of_squares, "bias_constraint": bend}
    model = chain((4,), kind(4, **arguments), layers.Dense(3), layers.BatchNormalization())
    folded, report = assert_all_folds(model)
    layer = folded.layers[1]
    assert type(layer) is (Handing if kind is Handing else layers.Dense) and layer is not model.layers[1]
    assert (layer.activation, layer.bias_regularizer, layer.bias_constraint) == tuple(arguments.values())
    assert report.shared == ()


@pytest.mark.parametrize(
    "activation",
    [lambda x: x * keras.ops.sigmoid(x), functools.partial(keras.activations.relu, negative_slope=0.3)],
)
def test_nameless_activation_is_opened_so_that_it_can_be_saved(activation, tmp_path):
    parts = [layers.Dense(4), layers.BatchNormalization(), layers.Activation(activation, name="bend"), layers.Dense(2)]
    folded, _ = assert_lives(chain((3,), *parts), tmp_path)
    assert isinstance(folded.get_layer("bend"), keras.Model)


def test_recurrent_layer_keeps_a_function_as_activation():
    model = chain((5, 4), layers.Dense(4), layers.BatchNormalization(), layers.LSTM(3, activation=lambda x: x * 0.5))
    folded, report = assert_all_folds(model)
    assert report.shared == ()
    assert (
        folded.layers[-1].kernel_initializer is not None if hasattr(folded.layers[-1], "kernel_initializer") else True
    )


def test_original_keeps_its_functions():
    model = chain((4,), layers.Dense(4, activation=my_activation, kernel_initializer=Tens()))
    fold(model)
    assert model.layers[1].activation is my_activation
    assert isinstance(model.layers[1].kernel_initializer, Tens)


# State that no weight holds -------------------------------------------------------------------------------
def adapted(layer, values):
    layer.adapt(values)
    return layer


NUMBERS = np.random.default_rng(0).normal(3.0, 20.0, (50, 4))
WITH_STATE = {
    "discretization": (lambda: adapted(layers.Discretization(num_bins=5), NUMBERS), "float32"),
    "normalization": (lambda: adapted(layers.Normalization(), NUMBERS), "float32"),
    "normalization_float64": (lambda: adapted(layers.Normalization(dtype="float64"), NUMBERS), "float64"),
    "normalization_given": (lambda: layers.Normalization(mean=[1.0, 2, 3, 4], variance=[4, 3, 2, 1.0]), "float32"),
    "normalization_inverted": (lambda: adapted(layers.Normalization(invert=True), NUMBERS), "float32"),
    "integers": (lambda: adapted(layers.IntegerLookup(), np.array([0, 2])), "int64"),
}


@pytest.mark.parametrize("name", WITH_STATE)
def test_layer_keeps_what_it_learned_from_data(name, tmp_path):
    make, dtype = WITH_STATE[name]
    x = keras.Input((4,), dtype=dtype)
    y = keras.ops.cast(make()(x), "float32")
    model = keras.Model(x, layers.BatchNormalization()(layers.Dense(3)(y)))
    for layer in model.layers[-2:]:
        layer.set_weights([np.random.default_rng(1).uniform(0.5, 2.0, value.shape) for value in layer.get_weights()])
    is_cloned = name != "integers"  # clone_model() leaves a table empty, the original's too
    _, report = assert_lives(model, tmp_path, is_cloned=is_cloned)
    assert report.normalizations_after == 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")
@pytest.mark.parametrize(
    "make",
    [
        lambda: adapted(layers.StringLookup(output_mode="tf_idf"), np.array([["a", "b"], ["b", "c d"]])),
        lambda: adapted(layers.TextVectorization(output_mode="tf_idf"), ["a b", "b c d"]),
        lambda: adapted(layers.TextVectorization(standardize=lambda text: text, output_mode="multi_hot"), ["a b", "A"]),
        lambda: layers.Hashing(7, salt=[3, 5], output_mode="multi_hot"),
    ],
)
def test_text_layers_keep_their_tables(make):
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, DiracDense(5)(make()(x)))
    folded, report = fold(model)
    assert report.kept == ()
    texts = keras.ops.convert_to_tensor(np.array([["a"], ["b c"], ["c d"], ["x"]]))
    np.testing.assert_allclose(folded(texts), model(texts), rtol=1e-5, atol=1e-5)


@keras.saving.register_keras_serializable(package="test_rebuild")
class Shifted(layers.Layer):
    """Holds a number that neither its configuration nor its weights have."""

    shift = 0.0

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), name="scale", initializer="ones")

    def call(self, inputs):
        return inputs * self.scale + self.shift


def test_layer_whose_copy_is_no_equal_stands_in_both_models():
    layer = Shifted()
    model = chain((4,), layers.Dense(4), layers.BatchNormalization(), layer)
    layer.shift = np.arange(4.0, dtype="float32")
    folded, report = assert_all_folds(model)
    assert folded.layers[-1] is layer
    assert [entry.layer for entry in report.shared] == [layer.name]
    assert "'shift'" in report.shared[0].reason
    assert f"shared with the original, which changes when these are trained:\n  {layer.name}" in str(report)


def test_layer_whose_copy_is_an_equal_stands_in_one_model():
    model = chain((4,), layers.Dense(4), layers.BatchNormalization(), Shifted())
    folded, report = assert_all_folds(model)
    assert folded.layers[-1] is not model.layers[-1]
    assert report.shared == ()


class OwnClass(type(chain((3,), layers.Dense(2)))):
    """A Functional model that only its own class can make from its configuration, as in keras-hub."""

    def __init__(self, units, **kwargs):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(units, activation=my_activation)(x), **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name}


def test_model_of_a_class_of_its_own_that_does_not_change_keeps_its_class():
    x = keras.Input((4,))
    model = randomize(keras.Model(x, layers.BatchNormalization()(layers.Dense(3)(OwnClass(5, name="own")(x)))))
    folded, _ = assert_all_folds(model)
    assert type(folded.get_layer("own")) is OwnClass
    assert folded.get_layer("own") is not model.get_layer("own")
