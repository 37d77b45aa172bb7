"""Files that commit a742e1d wrote, before modules moved and `kind` and `variant` became `layout`: `files/README.md`."""

import dataclasses
import functools
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.files.tables import read_table
from dirac_keras.training import train
from dirac_keras.training.folder.checkpoints import checkpoint_path, load_latest
from dirac_keras.training.folder.directory import RunDirectory
from pipelines import load_splits
from tests.marks import slow_but
from tests.network_checks import outputs_of
from tests.run_checks import STEPS, TIMED

FILES = pathlib.Path(__file__).parent / "files"
LAYOUTS = {"diracnet": "cifar", "plainnet": "dense", "van": "dense", "resnet": "dense", "highway": "conv"}
# On the processor that wrote the files, all is equal to the bit. Another one sums float32 in another order. Measured
# without oneDNN on one thread, and with SSE alone: outputs then differ by 4e-7 of their size, the weights after 13 more
# steps by up to 7e-6 of theirs. A resumed run that lost a step differs by 1e-3 in most of them, by 1 in some. A bias
# before a BatchNormalization has no gradient but rounding: 1e-7 where other weights are 0.1 and more.
OUTPUTS, RESUMED, ROUNDING = 1e-5, 1e-4, 1e-6


@functools.cache
def reached(name):
    """What that commit came to, from `reached.npz`."""
    with np.load(FILES / name / "reached.npz") as arrays:
        return dict(arrays)


def weights_reached(name):
    arrays = reached(name)
    return [arrays[f"weight{number}"] for number in range(sum(key.startswith("weight") for key in arrays))]


def assert_close(values, expected, tolerance):
    """Equal but for `tolerance` times the largest expected, and for what rounding leaves of zero."""
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() <= tolerance * np.abs(expected).max() + ROUNDING


def assert_weights_reached(model, name):
    for weight, expected in zip(model.get_weights(), weights_reached(name), strict=True):
        assert_close(weight, expected, RESUMED)


def assert_folds(model, images):
    folded, _ = fold(model)
    assert len(folded.weights) < len(model.weights)
    assert_close(outputs_of(folded, images), outputs_of(model, images), OUTPUTS)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """Function `name -> TrainResult` of the run that today's code resumes."""

    @functools.cache
    def resume(name):
        workdir = tmp_path_factory.mktemp(name) / "run"
        shutil.copytree(FILES / name / "run", workdir)
        return train_again(workdir)

    return resume


def train_again(workdir):
    config = RunDirectory(workdir).read_config()
    return train(config, load_splits(**config.data_arguments()), workdir)


@pytest.mark.parametrize("name", LAYOUTS)
def test_config_says_the_layout(name):
    stored = json.loads((FILES / name / "run" / "config.json").read_text())
    assert {"kind", "variant"} <= set(stored) and "layout" not in stored
    config = RunDirectory(FILES / name / "run").read_config()
    assert config.layout == LAYOUTS[name]
    if config.layout != "dense":
        del stored["units"]  # had a number then, which was of no effect
    fields = {field.name for field in dataclasses.fields(config)} & set(stored)
    assert {field: config.to_dict()[field] for field in fields} == {field: stored[field] for field in fields}


@pytest.mark.parametrize("name", LAYOUTS)
def test_checkpoint_loads_and_computes_the_same(name):
    position, model = load_latest(FILES / name / "run" / "checkpoints", STEPS)
    assert (position.epoch, position.batch) == (0, 3)
    assert int(model.optimizer.iterations) == 3
    assert_close(outputs_of(model, reached(name)["images"]), reached(name)["outputs_of_checkpoint"], OUTPUTS)


def test_classes_are_found_though_their_modules_have_moved():
    [path] = (FILES / "diracnet" / "run" / "checkpoints").iterdir()
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    assert '"dirac_keras.optimizers"' in text, "the module of that commit, which is no more"
    _, model = load_latest(path.parent, STEPS)
    assert type(model.optimizer).__module__ == "dirac_keras.training.optimization.optimizers"


@pytest.mark.slow
@pytest.mark.parametrize("name", slow_but(LAYOUTS, "diracnet"))
def test_run_resumes_to_the_weights_that_commit_came_to(name, resumed):
    assert_weights_reached(resumed(name).model, name)
    assert_close(outputs_of(resumed(name).model, reached(name)["images"]), reached(name)["outputs"], RESUMED)
    summary = json.loads(str(reached(name)["summary"]))
    assert resumed(name).summary["test_loss"] == pytest.approx(summary["test_loss"], rel=RESUMED)


@pytest.mark.slow
def test_tolerance_tells_a_resumed_run_from_one_that_lost_a_step(tmp_path):
    """The weights after step 3, kept as if they were those after step 4."""
    workdir = tmp_path / "run"
    shutil.copytree(FILES / "diracnet" / "run", workdir)
    position, model = load_latest(workdir / "checkpoints", STEPS)
    late = {"position": dataclasses.replace(position, batch=4).to_dict()}
    save_model(model, checkpoint_path(workdir / "checkpoints", 4), late, checksum=True)
    with pytest.raises(AssertionError):
        assert_weights_reached(train_again(workdir).model, "diracnet")


def test_finished_run_is_read(tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(FILES / "diracnet" / "finished", workdir)
    before = (workdir / "model.keras").read_bytes()
    result = train_again(workdir)
    assert (workdir / "model.keras").read_bytes() == before
    for weight, expected in zip(result.model.get_weights(), weights_reached("diracnet"), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert result.summary == json.loads(str(reached("diracnet")["summary"]))
    assert [row["epoch"] for row in result.history] == [1, 2]


def test_saved_model_loads_with_its_optimizer_and_data():
    model, metadata = load_model(FILES / "diracnet" / "finished" / "model.keras")
    assert metadata["data"]["name"] == "digits" and metadata["seed"] == 3
    assert int(model.optimizer.iterations) == 2 * STEPS
    assert_close(outputs_of(model, reached("diracnet")["images"]), reached("diracnet")["outputs"], OUTPUTS)


@pytest.mark.slow
def test_resumed_run_has_the_rows_of_that_commit(resumed):
    """Of both epochs: the first began with that commit's checkpoint, which keeps the sums of its metrics."""
    there, here = read_table(FILES / "diracnet" / "finished" / "metrics.csv"), resumed("diracnet").history
    for mine, theirs in zip(here, there, strict=True):
        assert mine.keys() == theirs.keys()
        for column in theirs.keys() - TIMED:
            assert mine[column] == pytest.approx(theirs[column], rel=RESUMED), column


@pytest.mark.slow
def test_saved_model_folds():
    assert_folds(load_model(FILES / "diracnet" / "finished")[0], reached("diracnet")["images"])


@pytest.mark.parametrize("name", slow_but(LAYOUTS, "diracnet"))
def test_resumed_run_folds(name, resumed):
    assert_folds(resumed(name).model, reached(name)["images"])
