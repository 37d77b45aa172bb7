"""One process to a folder."""

import os
import signal
import subprocess
import sys

import pytest

from dirac_keras.files.lock import LOCK_FILE, locked

HOLD = "import sys, time, pathlib; from dirac_keras.files.lock import locked\nwith locked(pathlib.Path(sys.argv[1])):\n"
HOLD += "    print('held', flush=True); time.sleep(60)"


def test_second_process_is_refused_until_the_first_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=rf"is in use: process {holder.pid} on .* trains there"), locked(tmp_path):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert (tmp_path / LOCK_FILE).exists(), "kill -9 leaves the file"
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_same_process_is_refused_too(tmp_path):
    with locked(tmp_path), pytest.raises(ValueError, match="is in use"), locked(tmp_path):
        pass


def test_lock_that_its_holder_removed_meanwhile_is_not_taken_for_one(tmp_path, monkeypatch):
    """Who opened the file just before it was removed locks a file that nobody else will see."""
    fcntl = pytest.importorskip("fcntl", reason="Windows does not remove open files")
    real, removed = fcntl.flock, []

    def remove_first(descriptor, operation):
        real(descriptor, operation)
        if not removed:
            removed.append((tmp_path / LOCK_FILE).unlink())

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert removed


def test_folder_that_stayed_empty_is_removed(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    line = r"workdir .*/file/run cannot be written: Not a directory\."
    with pytest.raises(ValueError, match=line), locked(tmp_path / "file" / "run"):
        pass
