"""Layers of layers: what is opened, what stays closed and why, and that every BatchNormalization left is listed."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.folding import fold
from dirac_keras.layers import BatchNormalization, DiracConv2D
from dirac_keras.precision import dtype_policy
from tests.folding.helpers import TOLERANCE, relative_difference


def randomize(model, seed=0):
    """As the helpers' own, of layers inside layers too."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if "float" in variable.dtype:
            positive = "variance" in variable.name
            shape = variable.shape
            variable.assign(random.uniform(0.2, 3.0, shape) if positive else random.normal(size=shape))
    return model


def model_of(*parts, shape=(6, 6, 3), **arguments):
    x = inputs = keras.Input(shape, **arguments)
    for part in parts:
        x = part(x)
    return randomize(keras.Model(inputs, x))


def assert_opens(model, before):
    folded, report = fold(model)
    assert (report.normalizations_before, report.normalizations_after) == (before, 0), str(report)
    assert report.kept == report.shared == ()
    assert relative_difference(model, folded) < TOLERANCE
    return folded, report


def assert_left(model, path, reason):
    """One BatchNormalization is left, listed by its path, and all works."""
    folded, report = fold(model)
    assert [entry.layer for entry in report.kept] == [path], str(report)
    assert reason in report.kept[0].reason
    assert (report.normalizations_before, report.normalizations_after) == (1, 1)
    assert relative_difference(model, folded) < TOLERANCE
    return folded, report


class Block(layers.Layer):
    """Convolution, BatchNormalization and ReLU, as libraries write their blocks."""

    def __init__(self, filters=4, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = layers.Conv2D(filters, 3, padding="same", name="conv", dtype=self.dtype_policy)
        self.norm = layers.BatchNormalization(name="norm", dtype=self.dtype_policy)

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build((*input_shape[:-1], self.filters))

    def call(self, inputs, training=None):
        return keras.ops.relu(self.norm(self.conv(inputs), training=training))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def test_layer_of_layers_becomes_a_nested_model_of_its_name(tmp_path):
    folded, report = assert_opens(model_of(Block(name="block"), layers.Flatten(), layers.Dense(2)), before=1)
    assert [(entry.layer, entry.action) for entry in report.folded] == [("block/norm", "merged into 'block/conv'")]
    assert isinstance(folded.get_layer("block"), keras.Model)
    folded.save(tmp_path / "folded.keras")  # Block is not registered: the folded model does not need it
    assert relative_difference(folded, keras.models.load_model(tmp_path / "folded.keras")) == 0.0


def test_original_is_not_changed_by_opening():
    block = Block(name="block")
    model = model_of(block, layers.Flatten())
    before, state = model.get_weights(), dict(vars(block))
    fold(model)
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))
    assert vars(block).keys() == state.keys()
    assert model.get_layer("block") is block


def test_merge_goes_across_the_border_of_an_opened_layer():
    class Activated(Block):
        def call(self, inputs):
            return self.conv(keras.ops.relu(self.norm(inputs)))

        def build(self, input_shape):
            self.norm.build(input_shape)
            self.conv.build(input_shape)

    assert_opens(model_of(layers.Conv2D(5, 3), Activated(name="block"), layers.BatchNormalization()), before=2)


def test_layers_in_layers_in_layers_are_opened():
    class Stage(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.blocks = [Block(name="first"), Block(name="second")]

        def build(self, input_shape):
            self.blocks[0].build(input_shape)
            self.blocks[1].build((*input_shape[:-1], 4))

        def call(self, inputs):
            y = self.blocks[0](inputs)
            return y + self.blocks[1](y)

    _, report = assert_opens(model_of(Stage(name="stage")), before=2)
    assert report.folded[1].layer == "stage/second/norm"


def test_layer_that_makes_layers_when_it_is_called_is_opened():
    class Squeezed(Block):
        def call(self, inputs):
            y = self.norm(self.conv(inputs))
            return layers.multiply([y, layers.GlobalAveragePooling2D(keepdims=True)(y)])

    assert_opens(model_of(Squeezed()), before=1)


def test_layer_with_layers_that_it_never_calls_is_opened():
    class Wasteful(Block):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.unused = layers.Dense(3)
            self.unused.build((None, 4))

    assert_opens(model_of(Wasteful()), before=1)


def test_layer_called_twice_is_opened_and_stays_one():
    block, a, b = Block(name="block"), keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    folded, _ = assert_opens(randomize(keras.Model([a, b], layers.Subtract()([block(a), block(b)]))), before=1)
    assert len([layer for layer in folded.layers if layer.name == "block"]) == 1


def test_layer_of_several_tensors_by_keyword_is_opened():
    class Joined(Block):
        def call(self, inputs, skip=None, factor=1.0):
            return self.norm(self.conv(inputs["image"])) * factor + skip

        def build(self, *shapes, **more):
            super().build((None, 6, 6, 3))

        def compute_output_shape(self, *shapes, **more):
            return (None, 6, 6, 4)

    x, skip = keras.Input((6, 6, 3)), keras.Input((6, 6, 4))
    assert_opens(randomize(keras.Model([x, skip], Joined()({"image": x}, skip=skip, factor=0.5))), before=1)


def test_layer_that_returns_its_input_too_is_opened():
    class Both(Block):
        def call(self, inputs):
            return inputs, self.norm(self.conv(inputs))

        def compute_output_shape(self, input_shape):
            return input_shape, (*input_shape[:-1], 4)

    x = keras.Input((6, 6, 3))
    assert_opens(randomize(keras.Model(x, list(Both()(x)))), before=1)


def test_opened_layer_casts_as_the_layer_did():
    block = Block(dtype="float64")
    model = model_of(layers.Conv2D(3, 1), block)
    folded, _ = assert_opens(model, before=1)
    assert folded.outputs[0].dtype == "float64"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has float64 only where it is switched on")
def test_models_cast_to_their_own_precision_as_they_did():
    # Under another global policy than theirs: in float32 the 1e-9 would vanish.
    x = keras.Input((3,), dtype="float64")
    with dtype_policy("float64"):
        parts = [keras.Input((3,), dtype="float64"), layers.BatchNormalization(center=False), layers.Dense(3)]
        inner = keras.Sequential(parts, name="inner")
        model = randomize(keras.Model(x, inner(layers.Identity()(x))))
    folded, report = fold(model)
    assert report.normalizations_after == 0
    assert folded.get_layer("inner").dtype_policy.name == "float64"
    values = keras.ops.convert_to_tensor(np.array([[1.0, 1.0, 1.0], [1.0 + 1e-9, 1.0, 1.0]]), dtype="float64")
    first, second = keras.ops.convert_to_numpy(folded(values))
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(values)), [first, second], rtol=1e-12)


def test_dirac_layers_inside_become_plain():
    class Dirac(Block):
        def __init__(self, **kwargs):
            layers.Layer.__init__(self, **kwargs)
            self.filters = 4
            self.conv = DiracConv2D(4, 3, padding="same", name="conv")
            self.norm = BatchNormalization(name="norm")

    folded, _ = assert_opens(model_of(Dirac(name="block")), before=1)
    assert type(folded.get_layer("block").get_layer("conv")) is layers.Conv2D


def test_frozen_layer_stays_frozen_when_it_is_opened():
    block = Block(name="block")
    model = model_of(block, layers.Dense(2))
    block.trainable = False
    folded, _ = fold(model)
    assert len(folded.trainable_weights) == 2


# What stays closed ----------------------------------------------------------------------------------------
class Scaled(Block):
    def build(self, input_shape):
        super().build(input_shape)
        self.factor = self.add_weight(shape=(4,), name="factor")

    def call(self, inputs):
        return self.norm(self.conv(inputs)) * self.factor


class ReadsItsWeight(Scaled):
    def call(self, inputs):
        return self.norm(self.conv(inputs)) * keras.ops.exp(self.factor)


class OtherInTraining(Block):
    def call(self, inputs, training=None):
        y = self.norm(self.conv(inputs), training=training)
        return y * 0.5 if training else y


class Counting(Scaled):
    def call(self, inputs):
        self.factor.assign(self.factor + 1.0)
        return self.norm(self.conv(inputs))


class Remembers(Block):
    def call(self, inputs):
        self.last = self.conv(inputs)
        return self.norm(self.last)


class LosesMore(Block):
    def call(self, inputs):
        y = self.norm(self.conv(inputs))
        self.add_loss(keras.ops.mean(y))
        return y


class Masked(Block):
    def call(self, inputs, mask=None):
        return self.norm(self.conv(inputs))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Scaled, "computes with weights of its own"),
        (ReadsItsWeight, "computes with weights of its own"),
        (OtherInTraining, "does something else in training"),
        (Counting, "computes with weights of its own"),
        (Remembers, "changes its state when it is called"),
        (LosesMore, "has a call() that does not run on symbolic tensors"),
        (Masked, "takes masks"),
    ],
)
def test_layer_that_does_more_than_its_graph_shows_stays_closed(kind, reason):
    block = kind(name="block")
    model = model_of(block)
    model(np.zeros((1, 6, 6, 3)))
    state = dict(vars(block))
    fold(model, verify=False)
    del state["last" if kind is Remembers else "filters"]  # Keras calls the layer itself to find shapes
    assert all(vars(block)[name] is value for name, value in state.items())
    _, report = assert_left(model, "block/norm", f"lies in 'block', which cannot be opened: it {reason}")
    assert "BatchNormalization       1 -> 1" in str(report)


def test_layer_called_in_training_mode_stays_closed():
    x = keras.Input((6, 6, 3))
    model = randomize(keras.Model(x, Block(name="block")(x, training=True)))
    _, report = fold(model)
    assert [entry.layer for entry in report.kept] == ["block/norm"]
    assert "training=True" in report.kept[0].reason


# TimeDistributed ------------------------------------------------------------------------------------------
def inner_model():
    x = keras.Input((6, 6, 3))
    y = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(x))
    return keras.Model(x, layers.Flatten()(layers.ReLU()(y)), name="inner")


def test_model_in_time_distributed_folds(tmp_path):
    model = model_of(layers.TimeDistributed(inner_model(), name="steps"), layers.LSTM(2), shape=(3, 6, 6, 3))
    folded, report = assert_opens(model, before=1)
    assert report.folded[0].layer == "steps/inner/norm"
    assert type(folded.get_layer("steps")) is layers.TimeDistributed
    folded.save(tmp_path / "folded.keras")
    assert relative_difference(folded, keras.models.load_model(tmp_path / "folded.keras")) == 0.0


def test_sequential_and_layers_of_layers_in_time_distributed_fold():
    inner = keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    assert_opens(model_of(layers.TimeDistributed(inner), shape=(3, 6, 6, 3)), before=1)
    assert_opens(model_of(layers.TimeDistributed(Block()), shape=(3, 6, 6, 3)), before=1)


def test_what_is_left_in_time_distributed_is_listed():
    model = model_of(layers.TimeDistributed(Scaled(name="block"), name="steps"), shape=(3, 6, 6, 3))
    _, report = fold(model)
    assert len(report.kept) == 1 and report.kept[0].layer.endswith("block/norm")
    assert "weights of its own" in report.kept[0].reason


# Every BatchNormalization is found ------------------------------------------------------------------------
class OwnNormalization(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) + 1.0


@keras.saving.register_keras_serializable(package="test_opened")
class NormalizedCell(layers.SimpleRNNCell):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, input_shape):
        super().build(input_shape)
        self.norm.build((None, self.units))

    def call(self, inputs, states, training=None):
        output, states = super().call(inputs, states)
        return self.norm(output, training=training), states


def test_subclass_of_batch_normalization_is_listed():
    norm = OwnNormalization(name="norm")
    assert_left(model_of(layers.Conv2D(4, 3), norm), "norm", "is a OwnNormalization, which may compute something else")


def test_normalization_in_a_recurrent_cell_is_listed():
    _, report = fold(model_of(layers.Bidirectional(layers.RNN(NormalizedCell(3)), name="both"), shape=(5, 4)))
    assert len(report.kept) == report.normalizations_before == report.normalizations_after == 2
    assert all(entry.layer.startswith("both/") and entry.layer.endswith("/norm") for entry in report.kept)


def test_normalization_that_is_an_activation_is_listed():
    norm = layers.BatchNormalization(name="norm")
    norm.build((None, 4))
    _, report = fold(model_of(layers.Dense(4, activation=norm, name="dense"), shape=(3,)))
    assert [entry.layer for entry in report.kept] == ["dense/norm"]


GLOBAL_NORM = layers.BatchNormalization(name="global_norm")
GLOBAL_NORM.build((None, 4))


def test_normalizations_in_functions_are_listed():
    closed_over = layers.BatchNormalization(name="closed_over")
    closed_over.build((None, 4))
    parts = [
        layers.Lambda(lambda x: closed_over(x), name="a"),
        layers.Lambda(lambda x: GLOBAL_NORM(x), name="b"),
    ]
    _, report = fold(model_of(*parts, shape=(4,)))
    assert [entry.layer for entry in report.kept] == ["a/closed_over", "b/global_norm"]


# Nested models in other ways ------------------------------------------------------------------------------
def test_nested_model_called_by_keyword_folds():
    x = keras.Input((6, 6, 3))
    assert_opens(randomize(keras.Model(x, inner_model()(inputs=x))), before=1)


def test_nested_model_called_on_a_dict_of_its_names_folds():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.BatchNormalization()(layers.Add()([layers.Dense(3)(a), layers.Dense(3)(b)]))
    inner = keras.Model([a, b], total)
    x = keras.Input((4,))
    assert_opens(randomize(keras.Model(x, inner({"b": layers.ReLU()(x), "a": x, "c": x}))), before=1)


def test_nested_model_called_on_another_rank_is_copied_as_it_is():
    x = keras.Input((4,))
    inner = keras.Model(x, layers.BatchNormalization(name="norm")(layers.Dense(3)(x)), name="inner")
    y = keras.Input((4, 1))
    model = randomize(keras.Model(y, inner(y)))
    folded, report = fold(model)
    assert [entry.layer for entry in report.kept] == ["inner/norm"]
    assert "of another structure or rank" in report.kept[0].reason
    assert relative_difference(model, folded) < TOLERANCE
