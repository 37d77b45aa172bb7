"""Artefacts judged as models: the same figures as the Keras model that they were made of."""

import json

import keras
import numpy as np
import pytest

from dirac_keras.cli.options import columns_of
from dirac_keras.deployment.formats.job import Job
from dirac_keras.deployment.heads import Head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.runtimes import as_model
from dirac_keras.deployment.runtimes.as_model import ArtefactModel, is_artefact
from dirac_keras.deployment.runtimes.standalone import Runner
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import save_model
from pipelines import load_splits
from tests.cli.entry import runner_of
from tests.deployment.runtimes import tiny

IMAGES = ("images", ("uint8", (None, 8, 8, 1)))
LOGITS = ("logits", ("float32", (None, 10)))
RISING = np.linspace(-0.01, 0.01, 10)[None]  # of the sum of the pixels: the last class always wins


def opened(monkeypatch, inputs=IMAGES, outputs=LOGITS, metadata=None, call=None):
    """`ArtefactModel` of a runner that no file is behind."""
    runner = Runner("onnx", dict([inputs]), dict([outputs]), metadata or {}, call)
    monkeypatch.setattr(as_model, "open_artefact", lambda path: runner)
    return ArtefactModel("net.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`net.onnx` and `net.keras`, the same network for digits; `damaged.onnx`; `hub`, a folder with a configuration."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("as_model")
    data = load_splits("digits", max_train=64).spec.to_dict() | {"mean": [0.0], "std": [1.0]}
    told = {"labels": data["class_names"], "image_shape": [8, 8, 1], "mean": [77.0], "std": [95.0], "data": "digits"}
    tiny.write_onnx(folder / "net.onnx", RISING, metadata=told, shape=(8, 8, 1))
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].kernel.assign(np.repeat(RISING, 64, axis=0))
    save_model(model, folder / "net.keras", {"data": data})
    (folder / "damaged.onnx").write_text("hello")
    (folder / "hub").mkdir()
    (folder / "hub" / "config.json").write_text("{}")
    (folder / "hub" / "net.xml").write_text("<?xml?>")
    return folder


@pytest.fixture
def command(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    return runner_of("evaluate", monkeypatch, capsys)


def test_artefact_has_the_figures_of_its_model(command, caplog):
    with caplog.at_level("INFO"):
        status, out, err = command("net.onnx", "--json")
    assert status == 0, err
    assert "net.onnx is run by onnxruntime" in caplog.text
    assert "pixels (0 to 255): the model takes uint8" in caplog.text
    figures, expected = json.loads(out), json.loads(command("net.keras", "--json")[1])
    assert figures.keys() == expected.keys()
    for name, value in expected.items():
        assert figures[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5)), name
    nines = [labels == 9 for _, labels in load_splits("digits").test()]
    assert figures["accuracy"] == pytest.approx(np.concatenate(nines).mean())  # 9 is its answer to everything


def test_artefact_is_compared_with_its_model(command, folder):
    status, out, err = command("net.keras", "--compare", "net.onnx", "--max-images", "40", "--json", "--corruptions",
                               "contrast", "--corruption-images", "5")  # fmt: skip
    assert status == 0, err
    comparison = json.loads(out)["comparison"]
    assert comparison["model"] == "net.onnx" and comparison["difference"]["value"] == 0.0
    assert command("net.onnx", "--compare", "net.keras", "--max-images", "40", "--report", "r.html")[0] == 0


def test_a_second_artefact_that_says_no_scale_is_fed_as_the_first_model(command, monkeypatch, folder):
    """It takes 0 to 1 and has labels alone: without `input` nothing would say so."""

    def call(arrays, raw):
        return {"logits": 255 * arrays["images"].sum((1, 2)) @ RISING}

    runner = Runner(
        "onnx", {"images": ("float32", (None, 8, 8, 1))}, dict([LOGITS]), {"labels": list("0123456789")}, call
    )
    monkeypatch.setattr(Runner, "runtime", "none")
    monkeypatch.setattr(as_model, "open_artefact", lambda path: runner)
    (folder / "other.onnx").touch()
    flags = ("--max-images", "40", "--json")
    status, out, err = command("net.keras", "--compare", "other.onnx", "--input", "unit", *flags)
    assert status == 0, err
    expected = json.loads(command("net.keras", *flags)[1])["accuracy"]
    comparison = json.loads(out)["comparison"]
    assert (comparison["both"] + comparison["only_second"]) / 40 == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.onnx", "does not exist"), ("damaged.onnx", "cannot be opened by onnxruntime"), ("hub", "hub")],
)
def test_what_is_no_artefact_is_one_line(command, name, message):
    status, _, err = command(name, "--data", "digits")
    assert status == 1 and message in err and "Traceback" not in err


def test_names_and_folders_that_are_artefacts(folder, tmp_path):
    assert is_artefact("a.tflite") and is_artefact(folder / "net.onnx")
    assert not is_artefact(folder / "net.keras") and not is_artefact(folder / "hub") and not is_artefact(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert is_artefact(tmp_path)
    (tmp_path / "model.keras").touch()  # a run's folder, which an artefact was written to
    assert not is_artefact(tmp_path)


def test_channels_first_are_turned(monkeypatch):
    seen = []

    def call(arrays, raw):
        seen.append(arrays["x"])
        return {"y": arrays["x"].sum((2, 3))}

    model = opened(monkeypatch, ("x", ("float32", (None, 3, 4, 2))), ("y", ("float32", (None, 3))), call=call)
    pictures = np.arange(2 * 4 * 2 * 3, dtype="float32").reshape(2, 4, 2, 3)
    assert model.input_shape == (None, 4, 2, 3) and model.gives is None
    np.testing.assert_array_equal(model.predict_on_batch(pictures), pictures.sum((1, 2)))
    assert seen[0].shape == (2, 3, 4, 2)
    np.testing.assert_array_equal(seen[0][1, 2], pictures[1, :, :, 2])


def test_numbers_that_stand_for_real_ones_are_fed_as_real_ones(monkeypatch):
    model = opened(monkeypatch, ("images", ("int8", (None, 8, 8, 1))), metadata={"mean": [0.0], "std": [255.0]})
    assert keras.backend.standardize_dtype(model.inputs[0].dtype) == "float32"
    assert model.metadata()["data"]["std"] == [255.0]


def test_pixels_are_scaled_by_the_file(monkeypatch):
    told = {"data": {"name": "digits", "mean": [1.0], "std": [2.0]}, "seed": 3, "labels": ["a"]}
    found = opened(monkeypatch, metadata=told).metadata()
    assert found == {"data": {"name": "digits"}, "seed": 3}
    assert opened(monkeypatch).metadata() == {}
    assert opened(monkeypatch, metadata={"labels": ["a", "b"]}).metadata() == {
        "data": {"class_names": ["a", "b"], "num_classes": 2}
    }


def test_a_file_remembers_the_columns_of_the_table_it_was_trained_on(monkeypatch):
    columns = {"image": "photo", "label": ["what is there"], "split": "fold"}
    data = {"name": "csv:/private/t.csv", "task": "labels", "columns": columns}
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    spec = ImageSpec((8, 8, 1), tuple("abcdefghij"), (0.0,), (1.0,), None)
    job = Job(network, network, "onnx", "float32", spec, Head("logits", 10, task="labels"), {"data": data})
    told = json.loads(json.dumps(job.facts()))
    found = opened(monkeypatch, metadata=told).metadata()
    assert columns_of(found, "csv:other.csv") == {"columns": columns, "task": "labels"}
    assert "/private" not in str(told)


def test_what_the_file_gives_is_what_it_says(monkeypatch):
    assert opened(monkeypatch).gives == "logits"
    named = ("y", ("int8", (None, 10)))
    assert opened(monkeypatch, outputs=named, metadata={"gives": "probabilities"}).gives == "probabilities"
    assert opened(monkeypatch, outputs=named).gives is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({}, dict([LOGITS]), "has 0 inputs"),
        (dict([IMAGES, ("other", IMAGES[1])]), dict([LOGITS]), r"has 2 inputs \(images, other\)"),
        ({"x": ("float32", (None, 5))}, dict([LOGITS]), r"must take images, .* It takes float32 of shape \(None, 5\)"),
        ({"x": ("float32", None)}, dict([LOGITS]), "must take images"),
        (dict([IMAGES]), {"a": LOGITS[1], "b": LOGITS[1]}, r"must give \(batch, classes\) of one name"),
        (dict([IMAGES]), {"label": ("string", (None,))}, "must give"),
    ],
)
def test_what_is_no_classifier_of_images_is_refused(monkeypatch, inputs, outputs, message):
    runner = Runner("onnx", inputs, outputs, {}, None)
    monkeypatch.setattr(as_model, "open_artefact", lambda path: runner)
    with pytest.raises(UserError, match=message):
        ArtefactModel("net.onnx")
