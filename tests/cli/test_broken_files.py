"""Every command that reads the data of a run does with its broken files what the training did."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from dirac_keras.cli.options import splits_of_model
from pipelines import DataError


@pytest.fixture
def photos(tmp_path):
    for kind in ("cat", "dog"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for k in range(5):
            Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(tmp_path / "photos" / kind / f"{k}.png")
    (tmp_path / "photos" / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and nothing")
    return tmp_path / "photos"


def run_of(folder, **options):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(options))
    return folder


@pytest.mark.slow
def test_the_broken_files_of_a_run_are_passed_over_as_in_its_training(photos, tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    metadata = {"data": {"name": f"folder:{photos}"}}
    skips, fails = run_of(tmp_path / "skips", on_broken="skip"), run_of(tmp_path / "fails", on_broken="fail")
    splits = splits_of_model(network, metadata, skips, None)
    assert splits.spec.num_train + splits.spec.num_test == 10
    with pytest.raises(DataError, match="broken"):
        splits_of_model(network, metadata, fails, None)
    with pytest.raises(DataError, match="broken"):  # what the command is told goes first
        splits_of_model(network, metadata, skips, None, on_broken="fail")
    others = {"data": {"name": "folder:/nowhere"}}
    with pytest.raises(DataError, match="broken"):  # not the data of the run
        splits_of_model(network, others, skips, f"folder:{photos}")
