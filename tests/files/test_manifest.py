"""`overwrite` deletes what is listed, and nothing at all where something else is in the folder."""

import os

import pytest

from dirac_keras.files.atomic import atomic_path, write_text
from dirac_keras.files.lock import locked
from dirac_keras.files.manifest import MANIFEST_FILE, Manifest, seal_folder


def tree(folder):
    """Relative paths of all that is in a folder, links not followed."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path):
    """A folder with a list, and three files in it that were written after the list was begun."""
    folder = tmp_path / "run"
    Manifest(folder).begin()
    for name in ("config.json", "checkpoints/step-1.keras", "tb/train/events.1"):
        write_text(folder / name, "ours")
    return folder


def test_what_was_written_is_listed_and_deleted(folder):
    assert Manifest(folder).foreign() == []
    Manifest(folder).clear()
    assert tree(folder) == []


FOREIGN = {
    "thesis.tex": lambda folder: (folder / "thesis.tex").write_text("mine"),
    "checkpoints/best.keras": lambda folder: (folder / "checkpoints" / "best.keras").write_text("mine"),
    "photos/": lambda folder: (folder / "photos" / "2024").mkdir(parents=True),
    ".git/": lambda folder: (folder / ".git").mkdir(),
    ".notes": lambda folder: (folder / ".notes").write_text("mine"),
    "link": lambda folder: (folder / "link").symlink_to(folder.parent),
    "broken": lambda folder: (folder / "broken").symlink_to(folder / "absent"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "a [b]*\n.txt": lambda folder: (folder / "a [b]*\n.txt").write_text("mine"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_file_is_named_and_nothing_is_deleted(name, folder):
    FOREIGN[name](folder)
    before = tree(folder)
    assert Manifest(folder).foreign() == [name]
    with pytest.raises(
        ValueError, match=r"(?s)workdir .*run holds what this program did not write, .*nothing is deleted"
    ):
        Manifest(folder).clear()
    assert tree(folder) == before


def test_listed_file_that_became_a_link_is_foreign_and_what_it_leads_to_stays(folder, tmp_path):
    """As where `checkpoints/` was moved to a larger disk."""
    os.rename(folder / "checkpoints", tmp_path / "elsewhere")
    (folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="did not write, checkpoints: nothing is deleted"):
        Manifest(folder).clear()
    assert tree(tmp_path / "elsewhere") == ["step-1.keras"]


@pytest.mark.parametrize("entry", ["../secret", "/etc/hostname", "tb/../../secret", {"pattern": "../*"}, ["x"], 5])
def test_no_entry_reaches_out_of_the_folder(entry, folder, tmp_path):
    import json

    (tmp_path / "secret").write_text("theirs")
    with open(folder / MANIFEST_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    Manifest(folder).clear()
    assert tree(tmp_path) == ["run", "secret"]


def test_line_cut_by_a_crash_costs_no_other_line(folder):
    with open(folder / MANIFEST_FILE, "ab") as file:
        file.write(b'"metr')
    write_text(folder / "metrics.csv", "ours")
    assert Manifest(folder).foreign() == []


def test_folder_without_a_list_is_known_by_its_names(tmp_path):
    for name in ("config.json", "tb/train/events.7", "tb/own/notes.txt", "mine.txt"):
        write_text(tmp_path / name, "")
    manifest = Manifest(tmp_path, known=("config.json", "tb/train/events.*"))
    assert manifest.foreign() == ["mine.txt", "tb/own/"]
    manifest.begin()  # what was known stays known
    write_text(tmp_path / "new.csv", "")
    assert Manifest(tmp_path).foreign() == ["mine.txt", "tb/own/"]


def test_star_of_a_pattern_is_within_one_folder(tmp_path):
    Manifest(tmp_path).begin()
    Manifest(tmp_path).add(patterns=["tb/events.*"])
    (tmp_path / "tb" / "events.x").mkdir(parents=True)
    (tmp_path / "tb" / "events.x" / "thesis.tex").touch()
    assert Manifest(tmp_path).foreign() == ["tb/events.x/thesis.tex"]


def test_folder_that_was_written_whole_knows_its_files_wherever_it_is_copied(folder, tmp_path):
    for served in (folder / "saved_model", tmp_path / "alone"):
        with atomic_path(served) as temporary:
            (temporary / "variables").mkdir(parents=True)
            (temporary / "variables" / "v.index").write_text("ours")
            seal_folder(temporary)
        assert Manifest(served).foreign() == []
        (served / "variables" / "notes.txt").write_text("mine")
        assert Manifest(served).foreign() == ["variables/notes.txt"]
    assert Manifest(folder).foreign() == ["saved_model/variables/notes.txt"]


def test_run_copied_into_another_is_foreign_though_it_has_a_list(folder, tmp_path):
    Manifest(folder / "best").begin()
    assert Manifest(folder).foreign() == ["best/"]
    Manifest(folder).add("best/")
    assert Manifest(folder).foreign() == []


def test_lock_stays_and_half_written_files_go(folder):
    with locked(folder):
        (folder / ".tmp-1a2b3c4d-model.keras").touch()
        (folder / ".tmp-1a2b3c4d-served" / "deep").mkdir(parents=True)
        (folder / ".tmp-1a2b3c4d-served" / "deep" / "file").touch()
        Manifest(folder).clear()
        assert tree(folder) == [".lock", ".lock-holder"]
