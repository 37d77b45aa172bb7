"""`evaluate --split all`: every image of new data, some classes of the network or all, none set aside."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

from dirac_keras.files.keras_file import load_model, save_model
from tests.cli.entry import runner_of

CLASSES = ("dark", "grey", "light")  # below 85, below 170, above


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """The command in a folder with a network that tells three brightnesses apart, exactly."""
    monkeypatch.chdir(tmp_path)
    spec = {
        "name": "folder:/elsewhere", "image_shape": [4, 4, 1], "num_classes": 3, "class_names": list(CLASSES),
        "mean": [0.0], "std": [255.0], "resize": None, "num_train": 30, "num_validation": 0, "num_test": 6,
    }  # fmt: skip
    head = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.GlobalAveragePooling2D(), head])
    # Lines through 0, at 1/3 and 2/3 of the brightness the next one is the highest.
    head.set_weights([np.array([[0.0, 30.0, 60.0]]), np.array([0.0, -10.0, -30.0])])
    save_model(model, tmp_path / "model.keras", {"data": spec})
    return runner_of("evaluate", monkeypatch, capsys)


def write_images(folder, values):
    folder.mkdir(parents=True)
    for k, value in enumerate(values):
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(folder / f"{k}.png")


def figures(command, *arguments):
    status, out, err = command("model.keras", "--json", *arguments)
    assert status == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_every_image_of_a_folder_counts_and_classes_may_be_absent(command, tmp_path, caplog):
    """By hand: of 4 dark and 6 light images, 1 and 2 are in the wrong folder: 7 of 10 are right."""
    write_images(tmp_path / "new" / "light", [200, 210, 220, 230, 10, 20])
    write_images(tmp_path / "new" / "dark", [5, 15, 25, 240])
    found = figures(command, "--data", "folder:new", "--split", "all")
    assert (found["images"], found["accuracy"], found["split"]) == (10, 0.7, "all")
    assert "no images of 1 of 3 classes: grey" in caplog.text
    status, _, err = command("model.keras", "--data", "folder:new", "--split", "all", "--report", "r.html")
    assert status == 0, err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "10 images of folder:" in page and "No image of 1 of 3 classes, of which nothing is known: grey." in page
    assert found["absent_classes"] == ["grey"]


@pytest.mark.slow
def test_one_image_for_each_class_is_enough_and_parts_count_as_one(command, tmp_path):
    write_images(tmp_path / "few" / "dark", [5])
    write_images(tmp_path / "few" / "grey", [120])
    assert figures(command, "--data", "folder:few", "--split", "all")["accuracy"] == 1.0
    write_images(tmp_path / "parted" / "test" / "grey", [120, 120, 5])
    assert figures(command, "--data", "folder:parted", "--split", "all")["accuracy"] == pytest.approx(2 / 3)
    write_images(tmp_path / "parted" / "train" / "light", [250])
    assert figures(command, "--data", "folder:parted", "--split", "all")["accuracy"] == pytest.approx(3 / 4)
    assert figures(command, "--data", "folder:parted", "--split", "all", "--max-images", "2")["images"] == 2


def test_every_row_of_a_table_counts(command, tmp_path):
    write_images(tmp_path / "images", [5, 250, 251])
    with open(tmp_path / "new.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *((f"images/{k}.png", "light") for k in range(3))])
    found = figures(command, "--data", "csv:new.csv", "--split", "all")
    assert (found["images"], found["accuracy"]) == (3, pytest.approx(2 / 3))


def test_classes_that_the_network_has_not_are_named(command, tmp_path):
    write_images(tmp_path / "new" / "Dark", [5])
    write_images(tmp_path / "new" / "blue", [5])
    status, _, err = command("model.keras", "--data", "folder:new", "--split", "all")
    assert status == 1 and "blue" in err and "Dark (there: dark)" in err and "Traceback" not in err


def test_a_set_with_parts_of_its_authors_is_refused(command):
    status, _, err = command("model.keras", "--data", "digits", "--split", "all")
    assert status == 1 and "--split: all is of folders and tables of images; digits has parts of its own" in err


def test_a_test_part_that_is_drawn_from_new_data_is_said(command, tmp_path, caplog):
    for name, value in (("dark", 5), ("grey", 120), ("light", 250)):
        write_images(tmp_path / "new" / name, [value] * 5)
    assert figures(command, "--data", "folder:new")["images"] == 3
    assert "3 of its 15 images are drawn, as for a training. --split all evaluates all" in caplog.text


def test_all_images_of_the_training_itself_are_said_to_be_that(command, tmp_path, caplog):
    write_images(tmp_path / "own" / "dark", [5, 6])
    write_images(tmp_path / "own" / "grey", [120, 121])
    write_images(tmp_path / "own" / "light", [250])
    model, metadata = load_model(tmp_path / "model.keras")
    metadata["data"]["name"] = f"folder:{tmp_path / 'own'}"
    save_model(model, tmp_path / "model.keras", metadata, overwrite=True)
    assert figures(command, "--split", "all")["images"] == 5
    assert "was trained on some of the images" in caplog.text
