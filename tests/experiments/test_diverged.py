"""`diverged.txt` says of its own run alone that it diverged."""

import json
import shutil

import pytest

from dirac_keras.experiments import Run, run_all
from dirac_keras.experiments.endings import diverged
from dirac_keras.training.folder.directory import RunDirectory

WILD = {"data": "digits", "family": "plainnet", "depth": 2, "units": 16, "scenario": "naive", "learning_rate": 1e6}
WILD |= {"epochs": 2, "max_train": 512, "max_test": 50, "precision": "float32"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Folder above the folder of a run that has diverged."""
    folder = tmp_path_factory.mktemp("diverged")
    ((_, directory),) = run_all((Run("wild", WILD),), folder)
    assert diverged(directory)
    return folder


@pytest.fixture
def folder(ended, tmp_path):
    return shutil.copytree(ended, tmp_path / "runs")


def test_diverged_run_is_not_repeated(folder):
    before = (folder / "wild" / "diverged.txt").stat().st_mtime_ns
    run_all((Run("wild", WILD),), folder)
    assert (folder / "wild" / "diverged.txt").stat().st_mtime_ns == before


def test_folder_of_another_configuration_does_not_count_as_done(folder):
    with pytest.raises(ValueError, match=r"holds another run \(learning_rate=1000000.0 there, 0.1 here"):
        run_all((Run("wild", {**WILD, "learning_rate": 0.1}),), folder)


def test_record_of_another_run_is_refused(folder):
    path = folder / "wild" / "diverged.txt"
    path.write_text("The loss became nan in epoch 1.\nrun: 0123456789abcdef\n")
    with pytest.raises(ValueError, match=r"diverged.txt is of another run than the folder"):
        run_all((Run("wild", WILD),), folder)


def test_record_of_a_run_without_an_identifier_counts(folder):
    record = json.loads((folder / "wild" / "config.json").read_text())
    for name in ("run", "checksum"):
        del record[name]
    (folder / "wild" / "config.json").write_text(json.dumps(record))
    (folder / "wild" / "diverged.txt").write_text("The loss became nan in epoch 1.\n")
    assert diverged(RunDirectory(folder / "wild"))
