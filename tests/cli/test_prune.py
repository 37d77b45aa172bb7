"""`dirac-keras prune`: fewer channels, both accuracies, and one line for what does not fit."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.files.keras_file import save_model
from tests.cli.entry import runner_of

DATA = ("--data", "digits", "--max-images", "64", "--input", "unit")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A chain in which half of the first layer's channels never change: they are 0 and 2, whatever the image."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="first"),
            layers.Conv2D(5, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="head"),
        ]
    )
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., [0, 2]] = 0.0
    bias[[0, 2]] = [-1.0, 2.0]
    model.get_layer("first").set_weights([kernel, bias])
    path = tmp_path_factory.mktemp("prune") / "net.keras"
    model.save(path)
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Exit status, standard output and standard error of the entry point."""
    return runner_of("prune", monkeypatch, capsys)


@pytest.mark.slow
def test_channels_that_never_change_go_without_a_trace(chain, tmp_path, command):
    output = tmp_path / "pruned.keras"
    status, out, err = command(chain, "--share", "0.5", *DATA, "--output", output, "--json")
    assert status == 0, err
    record = json.loads(out)
    assert record["removed"] == {"first": 2}
    assert record["accuracy_before"] == record["accuracy_after"]
    assert record["images"] == 64
    images = np.random.default_rng(0).random((3, 8, 8, 1), "float32")
    old, new = keras.saving.load_model(chain), keras.saving.load_model(output)
    np.testing.assert_allclose(old.predict(images, verbose=0), new.predict(images, verbose=0), atol=1e-5)  # float32


@pytest.mark.slow
def test_it_fine_tunes_under_a_teacher_and_lies_beside_the_file(chain, command):
    tuned = ("--epochs", "1", "--teacher", chain, "--batch-size", "512")
    status, out, err = command(chain, "--share", "0.5", *DATA, *tuned)
    assert status == 0, err
    assert "2 of 4 channels removed" in out and "accuracy " in out and "net-pruned.keras" in out
    status, _, err = command(chain, "--share", "0.5", *DATA)
    assert status == 1 and "exists. Give another --output, or --overwrite" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--share", "1"), "share must be a number from 0 to below 1"),
        (("--share", "0.1", "--lr", "0.1"), "has an effect only with --epochs"),
        (("--share", "0.1", "--output", "net.onnx"), "--output must end in .keras"),
        (("--share", "0.1", "--epochs", "1", "--teacher", "none.keras"), "none.keras"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(chain, tmp_path, monkeypatch, command, options, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = command(chain, *(() if "--output" in options else ("--output", "p.keras")), *DATA, *options)
    assert status == 1
    assert message in " ".join(err.split()) and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("mean", [0.5], "the same mean as MODEL, 0.0. Received {}, of 0.5."),
        (
            "class_names",
            [*"zyxwvutsrq"],
            "the same names of the classes as MODEL, a, b, c, .... Received {}, of z, y, x",
        ),
    ],
)
def test_a_teacher_of_other_images_is_refused(chain, tmp_path, command, name, values, message):
    data = {"mean": [0.0], "std": [1.0], "class_names": [*"abcdefghij"], "num_classes": 10}
    paths = tmp_path / "net.keras", tmp_path / "teacher.keras"
    for path, said in zip(paths, (data, data | {name: values}), strict=True):
        save_model(keras.saving.load_model(chain), path, {"data": said})
    status, _, err = command(paths[0], "--share", "0.5", *DATA, "--epochs", "1", "--teacher", paths[1])
    assert status == 1
    assert message.format(paths[1]) in " ".join(err.split())
