"""What a killed process left of a write is removed at the next one; what a living one writes is not."""

import os
import subprocess
import sys
import time

import pytest

from dirac_keras.files.atomic import atomic_path, write_text
from dirac_keras.files.leftovers import owner


@pytest.fixture(scope="module")
def dead():
    """`owner()` of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{process.pid}.{owner().split('.')[1]}"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "old.txt").write_text("old")


def write(folder, name):
    with atomic_path(folder / name) as temporary:
        temporary.mkdir()
        (temporary / "new.txt").write_text("new")


def test_leftover_of_a_dead_process_goes_at_the_next_write_of_that_name(tmp_path, dead):
    make(tmp_path, f".tmp-1a2b3c4d-{dead}-served")
    make(tmp_path, f".tmp-1a2b3c4d-{dead}-other")
    write(tmp_path, "served")
    assert names(tmp_path) == [f".tmp-1a2b3c4d-{dead}-other", "served"]


@pytest.mark.parametrize(
    "signature",
    [
        f"{owner()}-",  # this process, which lives
        "1.00000000-",  # of another machine
        "",  # of an earlier version, a moment ago
    ],
    ids=["living", "another machine", "unsigned"],
)
def test_what_may_be_written_still_stays(signature, tmp_path):
    make(tmp_path, f".tmp-1a2b3c4d-{signature}served")
    write(tmp_path, "served")
    assert names(tmp_path) == [f".tmp-1a2b3c4d-{signature}served", "served"]


def test_leftover_of_an_earlier_version_goes_after_a_day(tmp_path):
    make(tmp_path, ".tmp-1a2b3c4d-served")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / ".tmp-1a2b3c4d-served", (two_days_ago, two_days_ago))
    write(tmp_path, "served")
    assert names(tmp_path) == ["served"]


def test_file_of_the_user_with_a_like_name_stays(tmp_path):
    for name in (".tmp-notes-served", ".tmp-served", ".old-served", "tmp-1a2b3c4d-served"):
        (tmp_path / name).touch()
    before = names(tmp_path)
    write_text(tmp_path / "served", "")
    assert names(tmp_path) == sorted([*before, "served"])


def test_folder_that_lost_its_place_comes_back(tmp_path, dead):
    """The process was killed when the old folder had stepped aside and the new one was not there yet."""
    make(tmp_path, f".old-1a2b3c4d-{dead}-served")

    class Stop(Exception):
        pass

    with pytest.raises(Stop), atomic_path(tmp_path / "served"):
        raise Stop
    assert names(tmp_path) == ["served"] and names(tmp_path / "served") == ["old.txt"]
