"""A training that starts from a network of no family: any Keras model of images in a file."""

import json
import logging
import shutil
import types

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.errors import UserError
from dirac_keras.experiments.data import load
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.models import build_plainnet
from dirac_keras.training import TrainConfig, untrained_model
from dirac_keras.training.given import build_from_text, network_text, prepared
from dirac_keras.training.start.beginning import at_first_step, check_start
from tests.layer_checks import randomize_weights
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, train_fields

SHAPE = (8, 8, 1)
DIGITS = {name: CONFIG[name] for name in ("data", "batch_size", "precision", "max_test")} | {"max_train": 256}
FIELDS = {**DIGITS, "family": "file", "recipe": "finetune", "epochs": 2, "learning_rate": 0.02}


def spec(classes=10, shape=SHAPE, task="classes", **values):
    own = {"mean": (80.0,), "std": (90.0,), "class_names": None, "value_mean": (1.0,), "value_std": (2.0,)}
    return types.SimpleNamespace(
        name="somewhere", image_shape=shape, num_classes=classes, task=task, **{**own, **values}
    )


def backbone(shape=SHAPE):
    parts = [keras.Input(shape), layers.Conv2D(6, 3, padding="same", name="conv"), layers.BatchNormalization(name="bn")]
    return keras.Sequential([*parts, layers.ReLU(name="relu")], name="base")


def classifier(*head, shape=SHAPE, front=()):
    """As Keras' guide to transfer learning writes it: a backbone in a model."""
    x = inputs = keras.Input(shape)
    for part in (*front, backbone(shape), layers.GlobalAveragePooling2D(), *head):
        x = part(x)
    model = keras.Model(inputs, x, name="mine")
    randomize_weights(model)
    return model


def saved(model, path, metadata=None):
    save_model(model, path, metadata)
    return str(path)


def ready(path, data, policy="float32", **fields):
    return prepared(TrainConfig(**{**FIELDS, **fields}, start=str(path)), data, policy)


def answers(model, images):
    return keras.ops.convert_to_numpy(model(images))


IMAGES = np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)).astype("float32")
FED = (IMAGES - 80.0) / 90.0  # as the data of `spec` feed them


@pytest.mark.parametrize("head", [
    (layers.Dense(10, activation="softmax", name="predictions"),),
    (layers.Dropout(0.2), layers.Dense(10), layers.Softmax()),
    (layers.Dense(10), keras.ops.softmax),
], ids=["in the layer", "a layer", "an operation"])  # fmt: skip
def test_the_network_keeps_its_classes_and_gives_their_logits(tmp_path, head):
    """The pixels that it was trained with come back out of those that the data feed."""
    model = classifier(*head, front=(layers.Rescaling(1 / 255),))
    made, said = ready(saved(model, tmp_path / "mine.keras"), spec())
    given = keras.ops.convert_to_numpy(keras.ops.softmax(answers(made, FED)))
    np.testing.assert_allclose(given, answers(model, IMAGES), rtol=1e-5)
    assert "is kept as 'head_dense', without its softmax" in said[0]
    assert "pixels (0 to 255): the model scales them itself (layer rescaling" in said[1]
    assert [layer.name for layer in made.layers if layer.weights] == ["base_conv", "base_bn", "head_dense"]


def test_other_classes_have_another_head_and_the_rest_stays(tmp_path):
    model = classifier(layers.Dense(7, activation="softmax"))
    made, said = ready(saved(model, tmp_path / "mine.keras"), spec(10))
    assert made.output_shape == (None, 10)
    assert "'head_dense' begins anew: it gave 7 numbers, the data have 10" in said[0]
    for mine, theirs in zip(made.weights[:-2], model.weights[:-2], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_backbone_gets_a_head(tmp_path, pooled):
    model = classifier() if pooled else backbone()
    made, said = ready(saved(model, tmp_path / "mine.keras"), spec(3))
    assert made.output_shape == (None, 3)
    assert "'head_dense' begins anew: the network ends in features" in said[0]


def test_the_same_number_of_other_classes_has_another_head(tmp_path):
    path = saved(classifier(layers.Dense(2)), tmp_path / "mine.keras", {"data": {"class_names": ["cat", "dog"]}})
    assert "begins anew: the classes have other names" in ready(path, spec(2, class_names=["ant", "bee"]))[1][0]
    assert "is kept" in ready(path, spec(2, class_names=["cat", "dog"]))[1][0]


def test_a_1x1_convolution_is_a_head_too(tmp_path):
    """MobileNet of keras.applications ends so."""
    tail = (layers.Reshape((1, 1, 6)), layers.Conv2D(5, 1), layers.Reshape((5,)), layers.Activation("softmax"))
    path = saved(classifier(*tail), tmp_path / "mine.keras")
    made, said = ready(path, spec(5))
    assert "is kept" in said[0] and isinstance(made.get_layer("head_dense"), layers.Conv2D)
    made, said = ready(path, spec(4))
    assert made.output_shape == (None, 4) and "it gave 5 numbers" in said[0]


def test_labels_and_values_ask_for_heads_of_their_own(tmp_path):
    softmax = saved(classifier(layers.Dense(4, activation="softmax")), tmp_path / "softmax.keras")
    sigmoid = saved(classifier(layers.Dense(4, activation="sigmoid")), tmp_path / "sigmoid.keras")
    assert "it gave one of its classes" in ready(softmax, spec(4, task="labels"))[1][0]
    assert "is kept as 'head_dense', without its sigmoid" in ready(sigmoid, spec(4, task="labels"))[1][0]
    values = spec(4, task="values", value_mean=(1.0,) * 4, value_std=(2.0,) * 4)
    made, said = ready(sigmoid, values)
    assert "it gave probabilities" in said[0] and made.layers[-1].name == "values"
    again, said = ready(saved(made, tmp_path / "values.keras"), values)
    assert "is kept" in said[0]
    np.testing.assert_allclose(answers(again, FED), answers(made, FED), rtol=1e-5)


def test_images_are_scaled_as_the_file_says_or_the_user(tmp_path, caplog):
    model = classifier(layers.Dense(10))
    plain = saved(model, tmp_path / "plain.keras")
    made, said = ready(plain, spec())
    np.testing.assert_allclose(answers(made, FED), answers(model, FED), rtol=1e-5)
    assert "neither the file nor the first layers say" in said[1]
    made, _ = ready(plain, spec(), start_input="symmetric")
    np.testing.assert_allclose(answers(made, FED), answers(model, IMAGES / 127.5 - 1), rtol=1e-4, atol=1e-5)
    imported = saved(model, tmp_path / "imported.keras", {"data": {"mean": [100.0], "std": [50.0]}})
    made, _ = ready(imported, spec())
    np.testing.assert_allclose(answers(made, FED), answers(model, (IMAGES - 100) / 50), rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="start_input must be"):
        ready(plain, spec(), start_input="pixel")


def test_adapted_statistics_and_frozen_layers_of_the_file(tmp_path):
    """Its statistics move into the configuration, which the run keeps; what was frozen there is said."""
    normalization = layers.Normalization()
    normalization.adapt(IMAGES)
    model = classifier(layers.Dense(10), front=(normalization,))
    normalization.adapt(IMAGES)
    model.get_layer("base").trainable = False
    path = saved(model, tmp_path / "mine.keras")
    config = TrainConfig(**FIELDS, start=path)
    made, said = prepared(config, spec(), "float32")
    np.testing.assert_allclose(answers(made, FED), answers(model, IMAGES), rtol=1e-4, atol=1e-5)
    assert any("2 of its layers are frozen in the file" in line for line in said)
    assert len(made.trainable_weights) == 6
    again = build_from_text(network_text(config, spec(), "float32"))
    again.set_weights(made.get_weights())
    np.testing.assert_array_equal(answers(again, FED), answers(made, FED))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # JAX keeps 32 bits of it unless told
def test_the_precision_is_that_of_the_run_and_the_head_is_exact(tmp_path):
    config = TrainConfig(**FIELDS, start=saved(classifier(layers.Dense(10)), tmp_path / "mine.keras"))
    model = untrained_model(config, spec(), "mixed_bfloat16")
    assert model.get_layer("base_conv").compute_dtype == "bfloat16"
    assert model.get_layer("head_dense").compute_dtype == "float32"
    model = untrained_model(config, spec(), "float64")
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float64"}


def two_inputs():
    inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()(inputs))))


def tokens():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.LayerNormalization()(layers.Reshape((64, 1))(inputs)))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: classifier(layers.Dense(10), shape=(32, 32, 3)),
     r"takes images of 32 x 32 x 3; those of somewhere are 8 x 8 x 1. Give `channels=3` and `image_size=32`"),
    (lambda: classifier(layers.Dense(10), shape=(8, 8, 4)), "Give data of so many channels"),
    (lambda: keras.Sequential([keras.Input((1, 8, 8)), layers.Flatten(), layers.Dense(10)]), "Its channels come first"),
    (lambda: classifier(layers.Dense(10), shape=(8, 16, 1)), "Give images of this size, or save the network with an"),
    (lambda: keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(2, 9), layers.GlobalMaxPooling2D()]),
     "does not take images of 8 x 8 x 1"),
    (two_inputs, "must be a network of one input"),
    (tokens, "has no layer of classes that can be replaced"),
    (lambda: keras.Sequential([keras.Input(SHAPE), layers.Lambda(lambda x: 2 * x), layers.Flatten(), layers.Dense(9)]),
     "holds Python code .a Lambda layer., which is not run. A training takes Keras' own layers"),
], ids=["size", "channels", "channels first", "sides", "too small", "inputs", "tokens", "lambda"])  # fmt: skip
def test_what_cannot_be_trained_is_said_with_the_way_out(tmp_path, make, message):
    with pytest.raises(UserError, match=message) as caught:
        ready(saved(make(), tmp_path / "mine.keras"), spec())
    assert str(caught.value).startswith("start")


@pytest.mark.parametrize("built_for", [(16, 16, 1), (5, 12, 1)])
def test_it_is_made_again_for_the_size_that_is_asked_for(tmp_path, built_for):
    """A model of the same layers that leaves the size open gives the same numbers."""
    model = classifier(layers.Dense(10, name="last"), shape=built_for)
    any_size = classifier(layers.Dense(10, name="last"), shape=(None, None, 1))
    any_size.set_weights(model.get_weights())
    network, said = ready(saved(model, tmp_path / "mine.keras"), spec(), image_size=8)
    assert network.input_shape == (None, *SHAPE)
    assert any("is made again for 8 x 8 x 1, with the same weights" in line for line in said)
    np.testing.assert_allclose(answers(network, FED), answers(any_size, FED), atol=1e-5)  # sums in another order


@pytest.mark.parametrize(("parts", "reason"), [
    ([layers.Flatten(), layers.Dense(10, name="last"), layers.ReLU(), layers.Dense(10)],
     r"'last' \(Dense\) would have a kernel of \(64, 10\) in place of its \(256, 10\)"),
    ([layers.Reshape((256,)), layers.Dense(10)], "target_shape"),
    ([layers.Conv2D(4, 9), layers.Flatten(), layers.Dense(10)], "made again for 8 x 8 x 1"),
], ids=["flatten", "reshape", "too small"])  # fmt: skip
def test_what_cannot_be_made_again_for_another_size_is_said(tmp_path, parts, reason):
    path = saved(keras.Sequential([keras.Input((16, 16, 1)), *parts]), tmp_path / "mine.keras")
    with pytest.raises(UserError, match=f"was built for images of 16 x 16 x 1.*{reason}") as caught:
        ready(path, spec(), image_size=8)
    assert str(caught.value).endswith("Give `image_size=16`.")
    with pytest.raises(UserError, match="Or give `image_size=8`: the network is made again for images of that size"):
        ready(path, spec())


@pytest.mark.slow
def test_a_network_of_integers_is_refused(tmp_path):
    model = classifier(layers.Dense(10))
    model.layers[-1].quantize("int8")
    with pytest.raises(UserError, match="is quantized to int8, which cannot be trained"):
        ready(saved(model, tmp_path / "mine.keras"), spec(10))


def test_fields_of_other_networks_are_refused(tmp_path):
    with pytest.raises(UserError, match="depth is a field of the families that are built; family=file takes"):
        TrainConfig(**FIELDS, depth=20)
    with pytest.raises(UserError, match="units is a field of family="):
        TrainConfig(**FIELDS, units=20)
    with pytest.raises(UserError, match="family=file is the network of the file in `start`, which is not given"):
        check_start(TrainConfig(**FIELDS))
    with pytest.raises(UserError, match="start_input is for a network as it stands in the file"):
        check_start(TrainConfig(start="x.keras", start_input="unit"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Seven classes, dropout, and a backbone in it; dense, as gradients of convolutions differ by their rounding."""
    parts = [layers.Flatten(), layers.Dense(12, name="dense"), layers.BatchNormalization(name="bn"), layers.ReLU()]
    base = keras.Sequential([keras.Input(SHAPE), *parts], name="base")
    head = [layers.Dropout(0.3), layers.Dense(7, activation="softmax")]
    model = keras.Sequential([keras.Input(SHAPE), layers.Rescaling(1 / 255), base, *head], name="mine")
    return saved(model, tmp_path_factory.mktemp("start") / "mine.keras")


@pytest.mark.slow
def test_it_is_trained_and_resumed_without_its_file_to_the_same_weights(start, tmp_path, caplog):
    """Dropout draws on where it was; `network.json` has the network between the frozen epoch and the other one."""
    copy = tmp_path / "copy.keras"
    shutil.copy(start, copy)
    fields = {
        **FIELDS,
        "start": str(copy),
        "freeze": "base_*",
        "unfreeze_epoch": 1,
        "learning_rate_of": "head*=1,*=0.1",
    }
    with caplog.at_level(logging.INFO, logger="dirac_keras"):
        whole = train_fields(fields, tmp_path / "whole")
    assert "'head_dense' begins anew: it gave 7 numbers" in caplog.text
    with pytest.raises(Killed):
        train_fields({**fields, "checkpoint_steps": 1}, tmp_path / "killed", callbacks=[KillAfter(3)])
    copy.unlink()
    resumed = train_fields({**fields, "checkpoint_steps": 1}, tmp_path / "killed")
    assert_same_run(resumed, whole)
    record = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (record["family"], record["depth"], len(record["start_sha256"])) == ("file", None, 64)
    model, metadata = load_model(tmp_path / "whole")
    assert metadata["network"]["family"] == "file" and metadata["data"]["num_classes"] == 10
    assert model.output_shape == (None, 10)


@pytest.mark.slow
def test_what_a_run_began_with_is_there_again_and_without_its_file_the_network_alone(start, tmp_path, caplog):
    copy = tmp_path / "copy.keras"
    shutil.copy(start, copy)
    run = train_fields({**FIELDS, "start": str(copy), "epochs": 1}, tmp_path / "run").run
    splits = load(**run.read_config().data_arguments())
    begun = at_first_step(run, splits, "float32").get_layer("base_dense").get_weights()
    np.testing.assert_array_equal(begun[0], load_model(start)[0].get_layer("base").get_layer("dense").get_weights()[0])
    copy.unlink()
    with caplog.at_level(logging.WARNING, logger="dirac_keras"):
        other = at_first_step(run, splits, "float32")
    assert "is gone or has changed: this is the same network with random weights" in caplog.text
    assert other.get_layer("base_dense").kernel.shape == begun[0].shape


@pytest.mark.parametrize("layer", [layers.SpatialDropout2D(0.1), layers.GaussianNoise(0.1)], ids=["spatial", "noise"])
def test_layers_that_take_no_trainable_are_made_again(tmp_path, layer):
    """SpatialDropout of Keras 3.15 has neither the argument nor the field in its configuration."""
    x = inputs = keras.Input(SHAPE)
    for part in (layers.Conv2D(6, 3, padding="same"), layer, layers.GlobalAveragePooling2D(), layers.Dense(10)):
        x = part(x)
    model = keras.Model(inputs, x)
    made, _ = ready(saved(model, tmp_path / "mine.keras"), spec())
    assert [type(layer) for layer in made.layers] == [type(layer) for layer in model.layers]
    assert build_from_text(network_text(TrainConfig(**FIELDS, start=str(tmp_path / "mine.keras")), spec(), "float32"))


@pytest.mark.slow
def test_a_run_of_such_a_network_is_a_start_too(start, tmp_path):
    first = train_fields({**FIELDS, "start": start, "epochs": 1}, tmp_path / "first")
    again = train_fields({**FIELDS, "start": str(first.run.path), "epochs": 1}, tmp_path / "again")
    assert [layer.name for layer in again.model.layers if layer.weights] == ["base_dense", "base_bn", "head_dense"]


def test_a_network_of_a_family_may_be_taken_as_it_stands(tmp_path):
    model = build_plainnet(depth=2, units=5, input_shape=SHAPE)
    made, said = ready(saved(model, tmp_path / "plain.keras"), spec(), start_input="80/90")
    np.testing.assert_allclose(answers(made, FED), answers(model, FED), rtol=1e-5)
    assert "'head_dense' is kept" in said[0]


def test_dropout_comes_before_the_head_of_a_network_of_a_file(tmp_path):
    path = saved(classifier(layers.Dense(10, activation="softmax")), tmp_path / "own.keras")
    plain, thinned = (ready(path, spec(), dropout=rate)[0] for rate in (0.0, 0.5))
    images = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")
    np.testing.assert_array_equal(answers(thinned, images), answers(plain, images))
    assert thinned.get_layer("head_dropout").rate == 0.5
    assert not np.array_equal(thinned(images, training=True), plain(images, training=True))
    again = build_from_text(network_text(TrainConfig(**FIELDS, dropout=0.5, start=path), spec(), "float32"))
    assert again.get_layer("head_dropout").rate == 0.5 and len(again.weights) == len(plain.weights)
