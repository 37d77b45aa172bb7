"""Whose mistake it is that a trial has no result: the candidate's is final, the machine's leaves the trial open."""

import errno
import json
import os

import pytest
from rich.console import Console

pytest.importorskip("keras_tuner")

import tensorflow as tf

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.training.config import TrainConfig
from pipelines import DataError, load_splits
from tuning import SearchSpace, search, trials
from tuning.faults import TrialFailed, stopped_by, why_candidate_failed
from tuning.trials import run_trial

CONFIG = TrainConfig(data="digits", family="plainnet", recipe="plainnet", depth=2, units=8, epochs=1)
GIVEN = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": "2,3", "units": "8",
         "learning_rate": "0.01", "weight_decay": "0", "max_train": 256, "max_test": 50, "validation": 0.2}  # fmt: skip
FOLDER = "runs/tune/trials/0003"
OPTIONS = {"tuner": "grid", "max_epochs": 1, "console": Console(quiet=True)}


@pytest.fixture(scope="module")
def spec():
    return load_splits("digits", batch_size=64).spec


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def system(number):
    return OSError(number, os.strerror(number))


OF_THE_CANDIDATE = [
    (TrainingDiverged("The loss became nan in epoch 1, step 3."), "diverged: The loss became nan"),
    (TrialFailed("the folded network differs by 0.2 of the outputs"), "the folded network differs"),
    (MemoryError("Unable to allocate 40 GiB"), "out of memory: Unable to allocate"),
    (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,9]"), "out of memory: OOM"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."), "out of memory"),
    (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "out of memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
]
OF_THE_MACHINE = [
    *(system(getattr(errno, name)) for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE", "ENOENT")),
    raised(UserError("path: a/metrics.csv cannot be written: No space left on device."), system(errno.ENOSPC)),
    raised(RuntimeError("cannot save"), raised(ValueError("inner"), system(errno.EIO))),
    tf.errors.ResourceExhaustedError(None, None, "/runs/tb/events.v2; No space left on device"),
    tf.errors.ResourceExhaustedError(None, None, "/runs/tb/events.v2; Too many open files"),
    tf.errors.PermissionDeniedError(None, None, "/runs/tb; Permission denied"),
    tf.errors.FailedPreconditionError(None, None, "/runs/tb; Read-only file system"),
    tf.errors.InternalError(None, None, "CUDA error: an illegal memory access was encountered"),
    tf.errors.UnavailableError(None, None, "driver shutting down"),
    tf.errors.NotFoundError(None, None, "libcudnn.so.9: cannot open shared object file"),
    RuntimeError("Unable to synchronously flush file (errno = 28, error message = 'No space left on device')"),
    RuntimeError("something that nobody has seen"),
    UserError("workdir runs/tune/trials/0001/run0 holds another run (depth=4 there, 2 here)."),
    UserError("workdir runs/tune/trials/0001/run0 is in use: process 7 on host trains there."),
    DataError("image a.jpg is damaged"),
]


@pytest.mark.parametrize(("error", "reason"), OF_THE_CANDIDATE, ids=lambda value: str(value)[:30])
def test_mistake_of_the_candidate_has_its_reason(error, reason, spec):
    assert why_candidate_failed(error, CONFIG, spec).startswith(reason)


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=lambda value: str(value)[-30:])
def test_mistake_of_the_machine_is_none_of_the_candidate_s_and_one_line(error, spec):
    assert why_candidate_failed(error, CONFIG, spec) is None
    line = stopped_by(error, 3, FOLDER)
    assert isinstance(line, RunError) and "\n" not in str(line)
    assert "Trial 3 cannot go on, and that is not its fault" in str(line) and "It is open again" in str(line)


def test_network_that_cannot_be_built_is_the_candidate_s(spec):
    """It fails when it is built again, alone; the same error of one that can be built is another's mistake."""
    huge = TrainConfig(data="digits", family="plainnet", recipe="plainnet", depth=3, units=10**6)
    reason = why_candidate_failed(ValueError("negative dimension"), huge, spec, max_gigabytes=1)
    assert reason.startswith("cannot be built: A network with depth=3 and units=1,000,000 takes about")
    assert why_candidate_failed(ValueError("negative dimension"), CONFIG, spec) is None


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AttributeError("x"), AssertionError("x")])
def test_fault_of_the_software_keeps_its_traceback(error):
    assert stopped_by(error, 3, FOLDER) is error


def test_full_disk_is_no_reason_to_delete_a_trial():
    error = raised(UserError(f"path: {FOLDER}/run0/curves.png cannot be written: No space left."), system(errno.ENOSPC))
    line = str(stopped_by(error, 3, FOLDER))
    assert "once that is mended start the same search again" in line and "delete" not in line


def test_advice_of_a_run_is_not_the_search_s():
    """`overwrite=True` would delete the search, where the run's advice means its own folder."""
    error = UserError(
        f"workdir {FOLDER}/run0 holds a finished run whose summary.json is damaged: path: {FOLDER}/run0/summary.json "
        "was changed. Remove model.keras there to finish it again, or give `overwrite=True`."
    )
    assert str(stopped_by(error, 3, FOLDER)) == (
        f"Trial 3 cannot go on, and that is not its fault: workdir {FOLDER}/run0 holds a finished run whose "
        f"summary.json is damaged: path: {FOLDER}/run0/summary.json was changed. It is open again: restore its folder, "
        f"or delete {FOLDER} to train it again; then start the same search again to resume it."
    )


@pytest.mark.slow
def test_search_stops_and_goes_on_when_the_machine_is_mended(tmp_path, monkeypatch):
    real, calls = trials.train, []

    def train(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise system(errno.ENOSPC)
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trials, "train", train)
        with pytest.raises(RunError, match="Trial 1 cannot go on, and that is not its fault"):
            search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [(event["event"], event["trial"]) for event in events] == [("create", 0), ("end", 0), ("create", 1)]
    found = search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    assert [record["status"] for record in found.records] == ["COMPLETED"] * 2


@pytest.mark.slow
def test_disk_that_is_full_when_a_trial_ends_loses_nothing(tmp_path, monkeypatch):
    def full(path, text):
        if path.name == "best.toml" and path.parent == tmp_path:
            raise UserError(f"path: {path} cannot be written: No space left on device.") from system(errno.ENOSPC)
        return write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("tuning.report.tables.write_text", full)
        with pytest.raises(UserError, match=r"best\.toml cannot be written: No space left"):
            search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    found = search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    assert [record["trial"] for record in found.records] == [0, 1]
    assert (tmp_path / "best.toml").exists()


@pytest.mark.slow
def test_search_in_which_all_failed_ends_with_an_error_each_time(tmp_path):
    space = SearchSpace({**GIVEN, "depth": "2", "learning_rate": "1e30,2e30", "max_train": 512})
    for _ in range(2):
        with pytest.raises(RunError, match="no result: each of its 2 trials failed, the last: diverged"):
            search(space, tmp_path, **OPTIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return search(SearchSpace(GIVEN), folder, **OPTIONS)


def run_again(finished, number=0):
    settings = SearchSpace(GIVEN).config(finished.records[number]["values"], 1)
    meter = trials.Data()
    return run_trial(settings, finished.workdir / "trials" / "0000", meter, None)


@pytest.mark.slow
def test_run_of_another_trial_in_a_trial_s_folder_stops_the_search(finished):
    with pytest.raises(UserError, match=r"holds another run \(depth=2 there, 3 here\)"):
        run_again(finished, number=1)


@pytest.mark.parametrize("change", ["8.04", "nan", ""])
def test_accuracy_that_is_none_in_a_finished_run_is_no_result(finished, change):
    path = finished.workdir / "trials" / "0000" / "run0" / "metrics.csv"
    before = path.read_text()
    head, row = before.splitlines()[:2]
    cells = row.split(",")
    cells[head.split(",").index("val_accuracy")] = change
    path.write_text("\n".join([head, ",".join(cells), ""]))
    try:
        with pytest.raises((UserError, RunError), match=r"metrics\.csv"):
            run_again(finished)
    finally:
        path.write_text(before)
