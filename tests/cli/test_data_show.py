"""`dirac-keras data show`: the images of a training before it, and one line for what does not fit."""

import json
import types

import matplotlib.image
import numpy as np
import pytest

from dirac_keras.cli.data import picture as data_picture
from dirac_keras.cli.data.command import COMMANDS, data
from pipelines import DataSpec, load_splits
from tests.cli.entry import status_of

SHOW = ("data", "show", "digits", "--max-train", "64", "--max-test", "10", "--batch-size", "16")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = status_of(arguments, monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return call


def test_list_of_commands_has_the_first_sentence_of_each_help_text():
    for name, (_, _, sentence) in COMMANDS.items():
        assert " ".join(data.load(name).help.split()).startswith(sentence)


@pytest.mark.slow
def test_it_draws_the_batch_that_the_training_sees_and_names_its_images(command, tmp_path):
    status, out, err = command(*SHOW, "--augmentation", "digits+mixup:1", "--images", "9", "--step", "5", "--json")
    assert status == 0, err
    record = json.loads(out)
    picture = matplotlib.image.imread(tmp_path / record["output"])
    assert record["output"] == "digits-digits-mixup-1.png" and picture.ndim == 3
    splits = load_splits("digits", batch_size=16, max_train=64, max_test=10, augmentation="digits+mixup:1")
    assert [image["position"] for image in record["images"]] == splits.positions(5)[:9].tolist()
    _, labels = next(iter(splits.train(5)))
    labels = np.asarray(labels)[:9]
    assert [image["label"].split()[0].rstrip("%") for image in record["images"]] == [
        str(label.argmax()) for label in labels
    ]
    assert "9 images of step 5, digits+mixup:1, seed 0" in err


def test_pairs_are_the_stored_images_beside_those_of_the_batch():
    splits = load_splits("digits", batch_size=16, max_train=64, max_test=10, augmentation="flip")
    figure, shown = data_picture.draw(splits, "flip", 2, 4)
    seen = np.asarray(next(iter(splits.train(2)))[0])[:4]
    examples = splits.train_examples.take(splits.positions(2)[:4])
    stored = np.asarray(examples.images)[examples.rows]
    assert len(shown) == 4
    for axis, original, view in zip(figure.axes, stored, data_picture.pixels(seen, splits.spec), strict=True):
        drawn = np.asarray(axis.images[0].get_array())  # (8, 17, 3): two images and the gap
        np.testing.assert_array_equal(drawn[:, :8], np.repeat(original, 3, axis=-1))
        np.testing.assert_array_equal(drawn[:, -8:], np.repeat(view, 3, axis=-1))
        assert np.array_equal(view, original) or np.array_equal(view, original[:, ::-1])


def test_labels_in_words():
    spec = types.SimpleNamespace(class_names=("cat", "dog", "<b>$x$</b>", "x" * 40), task="classes")
    say = data_picture.describe_label
    assert say(np.int32(2), spec) == "<b>$x$</b>" and say(np.int32(3), spec) == "x" * 16 + "…" + "x" * 7
    assert say(np.array([0.25, 0.75, 0, 0]), spec) == "dog 75%\ncat 25%"
    assert say(np.array([0, 1.0, 0, 0]), spec) == "dog"
    several = types.SimpleNamespace(class_names=("cat", "dog", "fox"), task="labels")
    assert say(np.array([1, 1, 1]), several).endswith("and 2 more") and say(np.array([0, 0, 0]), several) == "none"
    values = types.SimpleNamespace(class_names=("age", "height"), task="values")
    assert say(np.array([3.5, -1.25]), values) == "age 3.5\nheight -1.25"


def test_a_share_stays_behind_a_name_from_right_to_left_and_json_has_whole_names():
    spec = types.SimpleNamespace(class_names=("\u05db\u05dc\u05d1 (3)", "two\nlines", "x" * 40), task="classes")
    say = data_picture.describe_label
    label = np.array([0.5, 0.3, 0.2])
    assert say(label, spec) == "\u200e\u05db\u05dc\u05d1 (3)\u200e 50%\nand 2 more"
    assert say(np.int32(1), spec) == "two lines"
    assert say(label, spec, str, 3) == f"\u05db\u05dc\u05d1 (3) 50%\ntwo\nlines 30%\n{'x' * 40} 20%"


def test_markup_and_formulas_in_names_are_text(tmp_path):
    splits = load_splits("digits", batch_size=16, max_train=64, max_test=10)
    names = tuple(f"$\\frac{{{k}$ <img src=x onerror=alert(1)>" for k in range(10))
    spec = DataSpec(**{**splits.spec.__dict__, "class_names": names, "name": "$x"})
    figure, _ = data_picture.draw(_with_spec(splits, spec), "none", 0, 3)
    figure.savefig(tmp_path / "x.png")  # would raise on a formula that is none


def _with_spec(splits, spec):
    import dataclasses

    return dataclasses.replace(splits, spec=spec)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--augmentation", "mixpu"), "Did you mean 'mixup'"),
        (("--augmentation", "jitter"), "give jitter:0.4:0.4:0:0"),
        (("--output", "x.txt"), "--output must end in .png, .pdf, .svg"),
        (("--output", "there.png"), "there.png exists; give another --output, or --overwrite to replace it"),
        (("--data-dir", "x"), "--data-dir has an effect only"),
        (("--channels", "2"), "channels must be one of 1, 3. Received channels=2"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(options, words, command, tmp_path):
    (tmp_path / "there.png").write_bytes(b"mine")
    status, out, err = command(*SHOW, *options)
    assert status != 0 and words in err and "Traceback" not in err and not out
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"mine"
