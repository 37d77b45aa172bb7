"""Models of others as artefacts: what they take and give, whatever they were made for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from scipy.special import expit

from dirac_keras.deployment import export, exporting, verification
from dirac_keras.deployment.formats import saved_model
from dirac_keras.deployment.heads import Head


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The artefact runs here: the clean process, which tests/deployment/test_export.py has, takes its time."""

    def run(folder, inputs, has_state=False):
        outputs, loaded = {}, tf.saved_model.load(str(folder))
        for name, arguments in inputs.items():
            loaded = tf.saved_model.load(str(folder)) if has_state else loaded
            tensors = {key: tf.constant(value) for key, value in arguments.items()}
            outputs[name] = {key: value.numpy() for key, value in loaded.signatures[name](**tensors).items()}
        return outputs

    monkeypatch.setattr(verification, "run_signatures", run)


@pytest.fixture
def without_bytes(monkeypatch):
    """No signature of encoded files: tracing the decoder takes longer than all the rest."""
    monkeypatch.setattr(saved_model, "FILE_CHANNELS", ())


def head(*front, shape=(8, 8, 1), units=4, dtype=None, end=None):
    x = inputs = keras.Input(shape, dtype=dtype)
    for step in front:
        x = step(x)
    x = layers.Dense(units)(layers.Flatten()(x))
    return keras.Model(inputs, x if end is None else end(x))


def signatures(report):
    artefact = tf.saved_model.load(report.path)
    return artefact, artefact.signatures  # the artefact owns the variables


def pictures(count=3, side=8):
    return np.random.default_rng(2).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


@pytest.mark.slow
def test_augmentation_is_not_active_in_any_signature(tmp_path, without_bytes):
    model = head(
        layers.RandomFlip(), layers.RandomTranslation(0.4, 0.4), layers.Rescaling(1 / 255), layers.Dropout(0.5)
    )
    model.save(tmp_path / "net.keras")  # which writes that the layers were called in training
    model = keras.saving.load_model(tmp_path / "net.keras")
    artefact, served = signatures(export(model, tmp_path / "net", input="pixels"))
    images = pictures().astype("float32")
    for _ in range(3):
        np.testing.assert_allclose(artefact.serve(images), model(images, training=False), atol=1e-5)
        logits = served["serving_uint8"](images=tf.constant(pictures()))["logits"]
        np.testing.assert_allclose(logits, model(images, training=False), atol=1e-5)


def strings():
    inputs = keras.Input((1,), dtype="string")
    x = layers.TextVectorization(vocabulary=["a", "b", "c"], output_sequence_length=4)(inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Embedding(8, 4)(x))))


def dictionary():
    numbers, ids = keras.Input((4,), name="numbers"), keras.Input((2,), dtype="int32", name="ids")
    x = layers.Concatenate()([numbers, layers.Flatten()(layers.Embedding(2, 3)(ids))])
    return keras.Model({"numbers": numbers, "ids": ids}, {"out": layers.Dense(2)(x)})


def minimum():
    """Six strided convolutions: an image of 64 pixels leaves nothing."""
    x = inputs = keras.Input((None, None, 3))
    for _ in range(6):
        x = layers.Conv2D(2, 3, strides=2)(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def stateful():
    inputs = keras.Input((6, 1), batch_size=4)
    return keras.Model(inputs, layers.LSTM(3, stateful=True)(inputs))


# model -> what the signature takes
TAKES = {
    "strings": (strings, {"string (None, 1)"}),
    "dictionary": (dictionary, {"float32 (None, 4)", "int32 (None, 2)"}),
    "flags": (lambda: head(lambda x: ops.cast(x, "float32"), dtype="bool"), {"bool (None, 8, 8, 1)"}),
    "double": (lambda: head(dtype="float64"), {"float64 (None, 8, 8, 1)"}),
    "open_with_a_minimum": (minimum, {"float32 (None, None, None, 3)"}),
    "state": (stateful, {"float32 (4, 6, 1)"}),
}


@pytest.mark.parametrize("case", TAKES)
def test_inputs_that_are_no_float_images_are_served_and_verified(case, tmp_path):
    make, expected = TAKES[case]
    report = export(make(), tmp_path / "net")
    assert set(report.signatures["serve"]["inputs"].values()) == expected
    assert report.max_abs_difference <= 1e-6


@pytest.mark.slow
def test_model_of_integers_gets_pixels(tmp_path, without_bytes):
    model = head(layers.Rescaling(1 / 255), dtype="uint8")
    artefact, served = signatures(export(model, tmp_path / "net", input="pixels"))
    logits = served["serving_uint8"](images=tf.constant(pictures()))["logits"]
    np.testing.assert_allclose(logits, model(pictures()), atol=1e-5)
    nearly = tf.constant(pictures().astype("float32")) - 0.3  # not cut to the number below
    nearly = served["serving_default"](images=tf.maximum(nearly, 0.0))["logits"]
    np.testing.assert_allclose(nearly, model(pictures()), atol=1e-5)
    del artefact


@pytest.mark.slow
def test_batch_that_is_fixed_stays_fixed(tmp_path):
    inputs = keras.Input(batch_shape=(5, 8, 8, 1))
    model = keras.Model(inputs, layers.Dense(4)(ops.reshape(inputs, (5, 64))))
    report = export(model, tmp_path / "net", input="unit")
    assert report.signatures["serving_bytes"]["inputs"] == {"image_bytes": "string (5)"}
    assert report.notes == ("the model fixes its batch: every signature takes 5 samples at once",)


@pytest.mark.slow
def test_one_unit_serves_two_classes(tmp_path, without_bytes):
    model = head(layers.Rescaling(1 / 255), units=1)
    report = export(model, tmp_path / "net", input="pixels", labels=["cat", "dog"])
    artefact, served = signatures(report)
    outputs = served["serving_uint8"](images=tf.constant(pictures()))
    dog = expit(np.asarray(model(pictures().astype("float32"))))
    np.testing.assert_allclose(outputs["probabilities"], np.concatenate([1 - dog, dog], -1), atol=1e-5)
    assert [label.decode() for label in outputs["label"].numpy()] == ["dog" if p > 0.5 else "cat" for p in dog[:, 0]]
    del artefact


@pytest.mark.slow
@pytest.mark.parametrize("end", [ops.softmax, lambda x: ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True)])
def test_softmax_that_is_no_last_layer_is_not_taken_twice(end, tmp_path, without_bytes):
    model = head(layers.Rescaling(1 / 255), end=end)
    artefact, served = signatures(export(model, tmp_path / "net", input="pixels"))
    outputs = served["serving_uint8"](images=tf.constant(pictures()))
    assert "logits" not in outputs
    np.testing.assert_allclose(outputs["probabilities"], model(pictures().astype("float32")), atol=1e-6)
    del artefact


def test_verification_sees_by_the_numbers_that_a_softmax_is_taken_twice(tmp_path, monkeypatch, without_bytes):
    """Whatever decided on logits: here something that is wrong."""
    monkeypatch.setattr(exporting, "find_head", lambda *_: Head("logits", 4))
    model = head(layers.Rescaling(1 / 255), end=ops.softmax)
    with pytest.raises((RuntimeError, ValueError), match=r"probabilities"):
        export(model, tmp_path / "net", input="pixels")
    assert not (tmp_path / "net").exists()


def test_weights_that_are_not_finite_are_named_and_nothing_is_written(tmp_path):
    model = head()
    model.layers[-1].bias.assign(np.array([1.0, np.nan, np.inf, 2.0]))
    with pytest.raises(ValueError, match=r"not finite \(NaN or infinite\) cannot serve: dense\w*/bias \(2 of 4\)"):
        export(model, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_outputs_that_are_not_finite_are_told_from_a_difference(tmp_path):
    model = head(end=lambda x: ops.log(-ops.abs(x)))
    with pytest.raises(RuntimeError, match=r"output output_0 is not finite \(NaN or infinite\) on random inputs"):
        export(model, tmp_path / "net")


def test_layers_that_were_called_in_training_serve_as_predict_does(tmp_path):
    model = head(lambda x: layers.Dropout(0.5, name="drop")(x, training=True))
    report = export(model, tmp_path / "net")
    assert "called with training=True, but serves as in model.predict: drop" in report.notes
    assert report.max_abs_difference <= 1e-6


@pytest.mark.slow
def test_given_scale_stands_in_the_artefact(tmp_path):
    from dirac_keras.files.keras_file import METADATA_MEMBER

    report = export(head(), tmp_path / "net", input="100/50", labels=list("abcd"), verify=False)
    assert '"mean": [\n      100.0\n    ]' in (tmp_path / "net" / METADATA_MEMBER).read_text()
    assert (tmp_path / "net" / "assets" / "labels.txt").read_text().split() == list("abcd")
    assert set(report.signatures) == {"serve", "serving_default", "serving_uint8", "serving_bytes"}


@pytest.mark.slow
def test_inception_of_open_size_is_verified(tmp_path):
    model = keras.applications.InceptionV3(weights=None, include_top=False, pooling="avg")
    assert export(model, tmp_path / "net").max_abs_difference < 1e-3
