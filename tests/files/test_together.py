"""Files that belong together take their places all or none, whenever the writing ends."""

import os

import pytest

from dirac_keras.errors import UserError
from dirac_keras.files import leftovers, together
from dirac_keras.files.together import bring_back_together, replace_together

NAMES = ("net.bin", "net.json", "net.xml")  # the last one is the main file


@pytest.fixture
def places(tmp_path):
    """Old files at their places, and new ones to replace them: dict, place -> source."""
    folder, new = tmp_path / "folder", tmp_path / "new"
    folder.mkdir()
    new.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"old {name}")
        (new / name).write_text(f"new {name}")
    return {folder / name: new / name for name in NAMES}


def content(places):
    return {path.name: path.read_text() for path in sorted(next(iter(places)).parent.iterdir())}


OLD = {name: f"old {name}" for name in NAMES}
NEW = {name: f"new {name}" for name in NAMES}


def test_all_take_their_places(places):
    replace_together(places)
    assert content(places) == NEW


def test_files_that_were_not_there_before_appear(places):
    for path in places:
        path.unlink()
    replace_together(places)
    assert content(places) == NEW


@pytest.mark.parametrize("number", range(7))
def test_old_files_stay_where_any_step_fails(places, number, monkeypatch):
    """Three renames to set the old ones aside, three into the places; the seventh is the copy of the second file."""
    if number == 6:
        list(places.values())[1].unlink()
    count = iter(range(100))

    def rename(source, target, whole=os.rename):
        if next(count) == number:
            raise OSError(28, "No space left on device", str(source))
        whole(source, target)

    monkeypatch.setattr(together.os, "rename", rename)
    with pytest.raises(UserError, match=r"cannot be written: (No space left|No such file)"):
        replace_together(places)
    assert content(places) == OLD


@pytest.mark.parametrize("number", range(6))
def test_old_files_come_back_after_a_kill(places, number, monkeypatch):
    """What a process leaves that ends before one of its renames, and cleans nothing up."""
    count = iter(range(100))

    class Killed(BaseException):
        pass

    def rename(source, target, whole=os.rename):
        if next(count) == number:
            raise Killed
        whole(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(together.os, "rename", rename)
        patch.setattr(together.os.path, "lexists", lambda path: (_ for _ in ()).throw(Killed))  # no rollback
        patch.setattr(together, "remove", lambda path: None)
        patch.setattr(together, "bring_back_together", lambda paths: None)
        with pytest.raises(Killed):
            replace_together(places)
    found = content(places)
    assert "net.xml" not in found or found == found | OLD  # no parts of two artefacts under the name of one
    monkeypatch.setattr(leftovers, "_runs", lambda process: False)
    bring_back_together(list(places))
    assert content(places) == OLD
