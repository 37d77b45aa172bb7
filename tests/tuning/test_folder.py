"""The folder of a search: what `overwrite` deletes and what it never touches, whose a record is, searches of before."""

import json
import pathlib
import shutil

import pytest
from rich.console import Console

pytest.importorskip("keras_tuner")

from dirac_keras.files.atomic import write_text
from dirac_keras.files.manifest import MANIFEST_FILE, Manifest
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.directory import RunDirectory
from tuning import Budget, SearchSpace, search
from tuning.folder import SearchFiles, open_folder
from tuning.settings import Settings

FILES = pathlib.Path(__file__).parent / "files"  # of a search that 0.1.0 has begun: two trials ended, a third runs
GIVEN = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": "2-4", "units": "8,16",
         "learning_rate": "0.01-0.1", "max_train": 512, "max_test": 100, "validation": 0.2}  # fmt: skip
SETTINGS = Settings(SearchSpace(GIVEN), "random", max_epochs=2, budget=Budget(max_params=1000))
OTHER = Settings(SearchSpace(GIVEN), "random", max_epochs=3)
CONFIG = TrainConfig(data="digits", family="plainnet", recipe="plainnet", depth=2, units=8, epochs=1)
FORMER = ("trials.csv", "best.toml", "pareto.png", "summary.json", "keras_tuner/keras_tuner/oracle.json",
          "keras_tuner/keras_tuner/trial_0/trial.json", "keras_tuner/worker0/keras_tuner/worker0.json",
          "tb/events.out.tfevents.1.v2", "tb/0000/events.out.tfevents.1.v2", "workers/worker0.log",
          "trials/0000/run0/config.json", "trials/0000/run0/model.keras",
          "trials/0000/run0/tb/train/events.out.tfevents.1.v2",
          "trials/0002/run1/checkpoints/step-00000003.keras")  # fmt: skip


def content(folder):
    """Every file with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """A search's, as the search writes it: records, tables, the events of TensorBoard, a training."""
    open_folder(tmp_path, SETTINGS, overwrite=False).add("cost", network="x", cost={"parameters": 1, "macs": 1})
    for name in ("trials.csv", "best.toml", "summary.json"):
        write_text(tmp_path / name, "...")
    files = SearchFiles.__new__(SearchFiles)
    files.manifest, files.settings = Manifest(tmp_path), SETTINGS
    files.trial_began(1, {})
    run = RunDirectory(tmp_path / "trials" / "0001" / "run0")
    run.create(CONFIG, {"name": "digits"}, "float32")
    write_text(run.summary, "{}")
    for path in ("tb/events.out.tfevents.1.v2", "tb/0001/events.out.tfevents.1.v2", "workers/worker0.1.log"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_text("...")
    return tmp_path


def test_overwrite_deletes_what_the_search_has_written(folder):
    journal = open_folder(folder, OTHER, overwrite=True)
    assert journal.events == [] and {path.name for path in folder.iterdir()} == {"search.json", MANIFEST_FILE}
    assert json.loads((folder / "search.json").read_text())["max_epochs"] == 3


@pytest.mark.parametrize(
    "path",
    ["thesis.tex", "photos/a.jpg", "trials/notes.txt", "trials/0001/notes.txt", "trials/0001/run0/notes.txt",
     "trials/0001/run7/config.json", "tb/notes.txt", "tb/0001/plot.png", "workers/notes.txt", "search.json.bak"],
)  # fmt: skip
def test_what_others_have_put_there_is_named_and_nothing_is_deleted(folder, path):
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text("precious")
    before = content(folder)
    with pytest.raises(ValueError, match=r"holds what this program did not write, .*: nothing is deleted") as error:
        open_folder(folder, OTHER, overwrite=True)
    assert any(part in str(error.value) for part in (path, *(f"{p}/" for p in pathlib.PurePath(path).parts)))
    assert content(folder) == before


def test_link_out_of_the_folder_is_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "thesis.tex").write_text("precious")
    shutil.rmtree(folder / "tb")
    (folder / "tb").symlink_to(outside)
    with pytest.raises(ValueError, match="did not write, tb: nothing is deleted"):
        open_folder(folder, OTHER, overwrite=True)
    assert (outside / "thesis.tex").exists()


@pytest.mark.parametrize("text", ['{"query": "cats"}', "[]", "", "no JSON", '{"space": {}, "tuner": "random"}'])
def test_search_json_of_others_is_no_search(tmp_path, text):
    (tmp_path / "search.json").write_text(text)
    (tmp_path / "thesis.tex").write_text("precious")
    before = content(tmp_path)
    for overwrite in (True, False):
        with pytest.raises(ValueError, match=r"search.json is not the record of a search") as error:
            open_folder(tmp_path, SETTINGS, overwrite)
        assert "overwrite" not in str(error.value) and content(tmp_path) == before


@pytest.mark.parametrize("name", ["config.json", "thesis.tex"])
def test_folder_that_is_no_search_s_is_left_alone(tmp_path, name):
    if name == "config.json":  # a run, with a list of its own
        RunDirectory(tmp_path).create(CONFIG, {"name": "digits"}, "float32")
    else:
        (tmp_path / name).write_text("precious")
    before = content(tmp_path)
    with pytest.raises(ValueError, match=f"holds something that is no search .*{name}.*Give another"):
        open_folder(tmp_path, SETTINGS, overwrite=True)
    assert content(tmp_path) == before


def test_search_of_before_is_deleted_by_the_names_it_had(tmp_path):
    for name in FORMER:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("...")
    for name in ("search.json", "journal.jsonl"):
        shutil.copy(FILES / name, tmp_path)
    (tmp_path / "trials" / "0000" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"trials/0000/thesis.tex: nothing is deleted"):
        open_folder(tmp_path, OTHER, overwrite=True)
    (tmp_path / "trials" / "0000" / "thesis.tex").unlink()
    open_folder(tmp_path, OTHER, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"search.json", MANIFEST_FILE}


def test_search_whose_record_is_damaged_can_be_overwritten_by_its_list_alone(folder):
    (folder / "search.json").write_text("{")
    with pytest.raises(ValueError, match=r"search\.json is not the record of a search, or it is damaged"):
        open_folder(folder, SETTINGS, overwrite=False)
    assert open_folder(folder, OTHER, overwrite=True).events == []


def test_record_that_was_edited_does_not_fit_its_journal(folder):
    """Both the record and the call say three epochs; the trials were of two."""
    record = json.loads((folder / "search.json").read_text())
    assert record["max_epochs"] == 2 and len(record["search"]) == 32
    changed = {**record, "max_epochs": 3, "budget": json.loads(json.dumps(OTHER.to_dict()["budget"]))}
    (folder / "search.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="line 1 was changed, or is not this search's"):
        open_folder(folder, OTHER, overwrite=False)


def test_two_searches_of_one_kind_do_not_share_their_journals(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    open_folder(other, SETTINGS, overwrite=False)
    shutil.copy(folder / "journal.jsonl", other)
    with pytest.raises(ValueError, match="line 1 was changed, or is not this search's"):
        open_folder(other, SETTINGS, overwrite=False)


@pytest.mark.slow
def test_search_of_before_is_resumed(tmp_path, caplog):
    for name in ("search.json", "journal.jsonl"):
        shutil.copy(FILES / name, tmp_path)
    lines = [json.loads(line) for line in (FILES / "journal.jsonl").read_text().splitlines()]
    ended = [line["record"]["score"] for line in lines if line["event"] == "end"]
    options = {"tuner": "random", "max_trials": 3, "max_epochs": 2, "budget": Budget(max_params=1000)}
    found = search(SearchSpace(GIVEN), tmp_path, console=Console(quiet=True), **options)
    assert "resuming the search after 2 trials" in caplog.text
    assert [record["score"] for record in found.records][:2] == ended and len(found.records) == 3
    # Trained by 0.1.0 on another machine: the same network and data, to rounding that may turn one image of 102.
    assert found.records[2]["score"] == pytest.approx(0.1275, abs=0.011)
    assert search(SearchSpace(GIVEN), tmp_path, console=Console(quiet=True), **options).records == found.records


@pytest.mark.slow
def test_journal_that_ends_too_early_is_said_and_its_trials_are_read(tmp_path, caplog):
    options = {"tuner": "random", "max_trials": 2, "max_epochs": 1, "console": Console(quiet=True)}
    found = search(SearchSpace(GIVEN), tmp_path, **options)
    trained = (tmp_path / "trials" / "0001" / "run0" / "model.keras").stat().st_mtime_ns
    (tmp_path / "journal.jsonl").unlink()
    again = search(SearchSpace(GIVEN), tmp_path, **options)
    assert "knows 0 of the 2 trials" in caplog.text and "its last lines are missing" in caplog.text
    assert [record["score"] for record in again.records] == [record["score"] for record in found.records]
    assert (tmp_path / "trials" / "0001" / "run0" / "model.keras").stat().st_mtime_ns == trained
