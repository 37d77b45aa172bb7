"""The commands on models that this package did not write: what a shell user gets and can do."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tests.cli.entry import status_of


@pytest.fixture
def command(monkeypatch, capsys, caplog):
    """Exit status, standard output and standard error of the entry point; pytest takes the log, which goes there."""
    caplog.set_level("INFO", "dirac_keras")

    def call(*arguments):
        caplog.clear()
        status = status_of(arguments, monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, captured.err + caplog.text

    return call


def classifier(*front, head=None, shape=(8, 8, 1)):
    x = inputs = keras.Input(shape)
    for step in front:
        x = step(x)
    return keras.Model(inputs, (head or layers.Dense(10))(layers.Flatten()(x)))


@pytest.fixture
def scaling(tmp_path):
    """A network that rescales pixels itself."""
    keras.utils.set_random_seed(0)
    model = classifier(layers.Rescaling(1 / 255, name="scale"))
    model.save(tmp_path / "net.keras")
    return tmp_path / "net.keras"


def test_evaluate_feeds_a_foreign_model_as_keras_does_and_says_so(scaling, command):
    from pipelines import load_splits

    status, out, err = command("evaluate", scaling, "--data", "digits", "--json")
    test = load_splits("digits").test_examples
    images = np.asarray(test.images)[test.rows].astype("float32")
    expected = np.mean(keras.saving.load_model(scaling).predict(images, verbose=0).argmax(-1) == test.labels)
    assert status == 0
    assert json.loads(out)["accuracy"] == pytest.approx(expected)
    assert "input: pixels (0 to 255): the model scales them itself (layer scale)" in err


@pytest.mark.parametrize(("name", "expected"), [("evaluate", 1), ("diagnose", 0)])
def test_model_that_says_nothing_is_asked_for_or_warned_about(name, expected, tmp_path, command):
    """A diagnosis of a network that is still to be trained may be of standardized images; an accuracy may not."""
    classifier().save(tmp_path / "net.keras")
    status, _, err = command(name, tmp_path / "net.keras", "--data", "digits")
    assert status == expected and "neither the model's file nor its layers say" in " ".join(err.split())
    assert "(0 to 255)" in err and "input" in err


def test_predict_takes_names_from_a_file_and_shows_their_controls(scaling, tmp_path, command):
    keras.utils.save_img(tmp_path / "a.png", np.full((8, 8, 1), 100.0), scale=False)
    (tmp_path / "names.txt").write_text("".join(f"\x1b[31mname{index}\n" for index in range(10)))
    status, out, _ = command("predict", scaling, tmp_path / "a.png", "--labels", tmp_path / "names.txt")
    assert status == 0 and r"\x1b[31mname" in out and "\x1b" not in out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--labels", "absent.txt", "cannot be read: No such file"),
        ("--image-size", "8x8x3", "expected one side or HEIGHTxWIDTH"),
        ("--image-size", "-3", "expected sizes such as"),
    ],
)
def test_option_with_a_wrong_value_is_a_wrong_command_line(option, value, message, scaling, command):
    status, _, err = command("predict", scaling, "a.png", option, value)
    assert status == 2 and message in " ".join(err.replace("│", " ").split())


def test_old_whole_model_files_are_read(tmp_path, command):
    classifier(layers.Rescaling(1 / 255)).save(tmp_path / "old.h5")
    status, out, _ = command("info", tmp_path / "old.h5", "--json")
    assert status == 0 and json.loads(out)["macs"] == 640


def test_code_in_a_file_names_the_option_that_runs_it(tmp_path, command):
    classifier(layers.Lambda(lambda x: x / 255.0)).save(tmp_path / "code.keras")
    status, _, err = command("info", tmp_path / "code.keras")
    assert status == 1 and "give --unsafe: then its code runs with your rights" in " ".join(err.split())
    status, _, err = command("info", tmp_path / "code.keras", "--unsafe")
    assert status == 0 and "runs with your rights" in err


def test_unknown_layer_names_the_option_that_imports_it(tmp_path, command, monkeypatch):
    code = "import keras\nclass Tripled(keras.layers.Layer):\n    def call(self, x):\n        return 3.0 * x\n"
    names = {}
    exec(code, names)
    classifier(names["Tripled"]()).save(tmp_path / "own.keras")
    (tmp_path / "tripled_elsewhere.py").write_text(code)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "tripled_elsewhere", None)
    monkeypatch.delitem(sys.modules, "tripled_elsewhere")
    status, _, err = command("info", tmp_path / "own.keras")
    assert status == 1 and "needs 'Tripled'" in err and "--import MODULE" in " ".join(err.split())
    status, out, _ = command("info", tmp_path / "own.keras", "--import", tmp_path / "tripled_elsewhere.py")
    assert status == 0 and "Tripled" in out


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("export", "--output", "served"), ("fold",)])
def test_channels_first_on_a_cpu_without_onednn_is_said_to_be_that(arguments, tmp_path):
    """Not a fault of the software, nor the words of TensorFlow. In a process of its own, as oneDNN computes them."""
    step = layers.Conv2D(2, 3, data_format="channels_first")
    classifier(step, shape=(3, 8, 8)).save(tmp_path / "net.keras")
    chosen = {"TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    line = [sys.executable, "-m", "dirac_keras.cli", arguments[0], "net.keras", *arguments[1:]]
    ended = subprocess.run(line, cwd=tmp_path, env=os.environ | chosen, capture_output=True, text=True)
    said = " ".join((ended.stdout + ended.stderr).split())
    assert "computes layers with data_format='channels_first' on a GPU alone" in said
    assert ended.returncode == (arguments[0] == "export")
    assert "fault" not in ended.stderr and "NHWC" not in said


def test_info_marks_what_is_not_counted(tmp_path, command):
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(x)
    keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x))).save(tmp_path / "open.keras")
    status, out, _ = command("info", tmp_path / "open.keras")
    row = next(line for line in out.splitlines() if line.split()[:1] == ["conv"])
    assert status == 0 and "?" in row.replace("? x ?", "")
    assert "MACs: >= 8, 1 layer not counted; --input-shape gives the open sizes" in out
    status, out, _ = command("info", tmp_path / "open.keras", "--input-shape", "8x8x3", "--json")
    assert json.loads(out)["macs"] == 36 * 9 * 3 * 4 + 8 and json.loads(out)["uncounted"] == []
    status, _, err = command("info", tmp_path / "open.keras", "--input-shape", "8,8")
    assert status == 1 and "--input-shape must fit the model's inputs" in err
    status, _, err = command("info", tmp_path / "open.keras", "--input-shape", "2,2,3")  # the kernel is 3 x 3
    assert (
        status == 1 and "--input-shape must be sizes that every layer takes: with inputs of shape (1, 2, 2, 3)" in err
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluate", "--data", "digits"), 1),
        (("predict", "a.png"), 1),
        (("export",), 1),
        (("info",), 0),
        (("fold",), 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_weights_that_are_no_numbers_are_named_by_every_command(arguments, expected, tmp_path, command, monkeypatch):
    model = classifier(layers.Rescaling(1 / 255), head=layers.Dense(10, name="top"))
    model.get_layer("top").kernel.assign(np.full((64, 10), np.nan))
    model.save(tmp_path / "net.keras")
    keras.utils.save_img(tmp_path / "a.png", np.zeros((8, 8, 1)))
    monkeypatch.chdir(tmp_path)
    name, *rest = arguments
    status, _, err = command(name, "net.keras", *rest)
    assert status == expected and "not finite: top/kernel (640 of 640)" in " ".join(err.split())


def test_names_of_layers_do_not_reach_the_terminal_as_they_are(tmp_path, command):
    classifier(head=layers.Dense(10, name="a\x1b[31mb")).save(tmp_path / "net.keras")
    status, out, _ = command("info", tmp_path / "net.keras")
    assert status == 0 and r"a\x1b[31mb" in out and "\x1b" not in out
