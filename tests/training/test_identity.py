"""State belongs to its run: what another run wrote, or somebody changed, is refused by name or repaired."""

import json
import logging
import shutil

import pytest

from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table
from dirac_keras.training.folder.checkpoints import checkpoint_path
from tests.run_checks import STEPS, KillAfter, Killed, assert_same_run, run

LATE = STEPS + 3  # within the second epoch


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody interrupted."""
    return run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Function `fields -> folder` of a run that was killed in its second epoch, with a checkpoint there."""
    made = {}

    def make(**fields):
        key = tuple(fields.items())
        if key not in made:
            made[key] = tmp_path_factory.mktemp("interrupted") / "run"
            with pytest.raises(Killed):
                run(made[key], callbacks=[KillAfter(LATE + 1)], checkpoint_steps=LATE, **fields)
        return made[key]

    return make


@pytest.fixture
def folder(interrupted, tmp_path):
    """A copy of such a run, of `CONFIG`."""
    return shutil.copytree(interrupted(), tmp_path / "run")


def without_identifiers(folder):
    """Make of a run one of 0.1.0, which had no identifier in its record."""
    record = json.loads((folder / "config.json").read_text())
    for name in ("run", "threads", "checksum"):
        record.pop(name)
    (folder / "config.json").write_text(json.dumps(record))


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"seed": 1}, {"depth": 3}, {}], ids=["seed", "depth", "the same fields"])
def test_checkpoint_of_another_run_is_refused_and_stays(fields, interrupted, folder, tmp_path):
    theirs = interrupted(**fields) if fields else tmp_path / "other"
    if not fields:
        with pytest.raises(Killed):
            run(theirs, callbacks=[KillAfter(LATE + 1)], checkpoint_steps=LATE)
    copied = checkpoint_path(folder / "checkpoints", LATE)
    shutil.copy(checkpoint_path(theirs / "checkpoints", LATE), copied)
    before = copied.read_bytes()
    with pytest.raises(ValueError, match=rf"checkpoint .*{copied.name} is of another run .*Move it elsewhere"):
        run(folder)
    assert copied.read_bytes() == before and not (folder / "model.keras").exists()


@pytest.mark.slow
def test_checkpoint_under_the_name_of_another_step_is_not_used(folder, whole, caplog):
    """The state after step 8, which would be taken for that after step 11."""
    shutil.copy(checkpoint_path(folder / "checkpoints", STEPS), checkpoint_path(folder / "checkpoints", LATE))
    assert_same_run(run(folder), whole)
    assert "it holds the state of step 8, its name says 11" in caplog.text


@pytest.mark.slow
def test_run_without_identifiers_takes_no_other_network(interrupted, folder):
    without_identifiers(folder)
    model, metadata = load_model(checkpoint_path(interrupted(depth=3) / "checkpoints", LATE))
    from dirac_keras.files.keras_file import save_model

    old = {"position": metadata["position"]}
    save_model(model, checkpoint_path(folder / "checkpoints", LATE), old, overwrite=True, checksum=True)
    with pytest.raises(ValueError, match=r"is of another run: it has \d+ weights, this network \d+"):
        run(folder)


DAMAGES = {
    "emptied": lambda path: path.write_text(""),
    "gone": lambda path: path.unlink(),
    "a row changed": lambda path: path.write_text(path.read_text().replace("0.", "8.")),
    "cut within a row": lambda path: path.write_text(path.read_text()[:-20]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "of others": lambda path: path.write_text("name,age\nann,5\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_metrics_are_restored_from_the_checkpoint_and_the_log_says_so(damage, folder, whole, caplog):
    DAMAGES[damage](folder / "metrics.csv")
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        resumed = run(folder)
    assert "metrics.csv is damaged or not this run's: its rows are restored from the checkpoint" in caplog.text
    assert_same_run(resumed, whole)
    assert [row["epoch"] for row in read_table(folder / "metrics.csv")] == [1, 2]


@pytest.mark.slow
def test_metrics_of_a_run_without_identifiers_are_checked(folder):
    """Its checkpoints do not know the rows."""
    without_identifiers(folder)
    for path in (folder / "checkpoints").iterdir():
        model, metadata = load_model(path)
        from dirac_keras.files.keras_file import save_model

        save_model(model, path, {"position": metadata["position"]}, overwrite=True, checksum=True)
    (folder / "metrics.csv").write_text("")
    with pytest.raises(ValueError, match=r"metrics.csv does not hold the epochs 1 to 1 .*Restore it, or remove it"):
        run(folder)
    (folder / "metrics.csv").unlink()  # the way out that the message gives
    assert [row["epoch"] for row in run(folder).history] == [2]


@pytest.mark.slow
def test_run_whose_checkpoints_are_gone_begins_anew_and_says_so(folder, whole, caplog):
    shutil.rmtree(folder / "checkpoints")
    assert_same_run(run(folder), whole)
    assert "has no checkpoint that can be used: the training begins anew" in caplog.text


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(whole.run.path, tmp_path / "finished")


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FORGERIES = {
    "another accuracy": (lambda f: change(f / "summary.json", "_accuracy\": 0.", "_accuracy\": 0.9"), "checksum"),
    "an impossible one": (lambda f: change(f / "summary.json", '"test_accuracy": 0.', '"test_accuracy": 8.'), "<= 1"),
    "a list": (lambda f: (f / "summary.json").write_text("[]"), "summary.json"),
    "other metrics": (lambda f: change(f / "metrics.csv", "\n1,", "\n1,9"), "metrics.csv has changed since"),
    "emptied metrics": (lambda f: (f / "metrics.csv").write_text(""), "metrics.csv has changed since"),
    "another field": (lambda f: change(f / "config.json", '"momentum": 0.9', '"momentum": 0.8'), "config.json"),
    "no config": (lambda f: (f / "config.json").write_text("{}"), "config.json that is no run's, or damaged"),
    "other types": (lambda f: change(f / "config.json", '"versions": {', '"versions": 5, "x": {'), "config.json"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_finished_run_whose_records_were_changed_is_refused(forgery, finished):
    change_record, message = FORGERIES[forgery]
    change_record(finished)
    with pytest.raises(ValueError, match=message):
        run(finished)


@pytest.mark.slow
def test_model_of_another_run_is_refused(finished, tmp_path):
    other = run(tmp_path / "other", seed=1)
    shutil.copy(other.run.model, finished / "model.keras")
    with pytest.raises(ValueError, match=r"model.keras is of another run .*Move it elsewhere to finish"):
        run(finished)
    shutil.copy(other.run.summary, finished / "summary.json")
    with pytest.raises(ValueError, match="is of another run"):
        run(finished)


def test_overwrite_stops_at_a_file_of_the_user(finished):
    (finished / "checkpoints" / "mine.keras").write_text("mine")
    (finished / "thesis").mkdir()
    before = sorted(finished.rglob("*"))
    with pytest.raises(ValueError, match=r"did not write, checkpoints/mine.keras, thesis/: nothing is deleted"):
        run(finished, overwrite=True)
    assert sorted(finished.rglob("*")) == before


@pytest.mark.slow
def test_overwrite_of_a_run_without_a_list_knows_its_files(finished):
    (finished / ".dirac-keras-files").unlink()
    (finished / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"did not write, notes\.txt: nothing is deleted"):
        run(finished, overwrite=True)
    (finished / "notes.txt").unlink()
    assert len(run(finished, overwrite=True, epochs=1).history) == 1


def test_overwrite_deletes_no_folder_of_another_command(tmp_path):
    """A search has a list too."""
    from dirac_keras.files.manifest import Manifest

    Manifest(tmp_path).begin()
    Manifest(tmp_path).add("search.json")
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(ValueError, match="holds files that are no run's"):
        run(tmp_path, overwrite=True)
    assert (tmp_path / "search.json").exists()
