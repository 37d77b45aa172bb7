"""What is not whole is not used, and what is not sound is not saved."""

import errno
import logging
import os
import shutil
import subprocess
import zipfile

import keras
import numpy as np
import pytest

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.files.checksum import append_checksum, has_valid_checksum
from dirac_keras.training.folder.checkpoints import Checkpoint, checkpoint_path, find_checkpoints, load_latest
from tests.marks import slow_but
from tests.run_checks import STEPS, KillAfter, Killed, assert_same_run, run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Folder of a run that was killed after step 11 with checkpoints of steps 8 and 10."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(Killed):
        run(folder, callbacks=[KillAfter(11)], checkpoint_steps=2)
    return folder


@pytest.fixture
def checkpoints(interrupted, tmp_path):
    """A copy of its checkpoints that may be damaged."""
    return shutil.copytree(interrupted / "checkpoints", tmp_path / "checkpoints")


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def drop_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nothing", "")


def forge(path):
    """A whole file of other weights, with the checksum of the old ones."""
    checksum = path.read_bytes()[-71:]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more", "")
        archive.comment = checksum


DAMAGES = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "last byte lost": lambda path: os.truncate(path, path.stat().st_size - 1),
    "a byte flipped in the middle": lambda path: flip(path, path.stat().st_size // 2),
    "a byte flipped in the first name": lambda path: flip(path, 12),  # the time of a member, which zip does not check
    "a byte flipped in the checksum": lambda path: flip(path, -1),
    "empty": lambda path: path.write_bytes(b""),
    "a zip without members": drop_members,
    "wrong checksum": forge,
    "no checksum": lambda path: zipfile.ZipFile(path, "a").__setattr__("comment", b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_named_and_the_one_before_it_is_used(damage, checkpoints, caplog):
    newest = checkpoint_path(checkpoints, 10)
    DAMAGES[damage](newest)
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        position, model = load_latest(checkpoints, STEPS)
    assert position.step(STEPS) == 8 and model is not None
    assert len(caplog.records) == 1 and f"checkpoint {newest} is not used: " in caplog.text


@pytest.mark.slow
def test_run_whose_newest_checkpoint_is_damaged_ends_as_if_nothing_had_been(interrupted, tmp_path):
    whole = run(tmp_path / "whole")
    folder = shutil.copytree(interrupted, tmp_path / "run")
    DAMAGES["cut short"](checkpoint_path(folder / "checkpoints", 10))
    assert_same_run(run(folder, checkpoint_steps=3), whole)


def test_damaged_checkpoint_takes_no_whole_ones_place(checkpoints):
    """Going on from step 8 the next is 9: of 10 (damaged), 9 and 8, two whole ones stay."""
    DAMAGES["empty"](checkpoint_path(checkpoints, 10))
    callback = Checkpoint(checkpoints, keep=2)
    callback.set_params({"steps": STEPS, "epochs": 2})
    callback._prune(8)
    shutil.copy(checkpoint_path(checkpoints, 8), checkpoint_path(checkpoints, 9))
    callback._prune(9)
    assert [step for step, _ in find_checkpoints(checkpoints, STEPS)] == [10, 9, 8]


def test_without_a_whole_checkpoint_the_run_begins_anew(checkpoints, caplog):
    for _, path in find_checkpoints(checkpoints, STEPS):
        DAMAGES["empty"](path)
    position, model = load_latest(checkpoints, STEPS)
    assert (position.epoch, position.batch, model) == (0, 0, None)
    assert caplog.text.count("is not used") == 2


def test_names_of_both_versions_are_in_one_order(tmp_path):
    for name in (
        "epoch-0001.keras",
        "epoch-0003.keras",
        "step-00000012.keras",
        ".tmp-1-step-00000099.keras",
        "x.keras",
    ):
        (tmp_path / name).touch()
    assert [step for step, _ in find_checkpoints(tmp_path, STEPS)] == [24, 12, 8]


def test_file_with_checksum_is_a_zip_as_before(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("member", "content")
    assert has_valid_checksum(path) is None
    append_checksum(path)
    assert has_valid_checksum(path) is True
    assert zipfile.ZipFile(path).read("member") == b"content"


def test_other_programs_find_the_same_checksum(tmp_path):
    import hashlib

    path = tmp_path / "a.zip"
    zipfile.ZipFile(path, "w").close()
    append_checksum(path)
    content = path.read_bytes()
    assert content.endswith(b"sha256:" + hashlib.sha256(content[:-71]).hexdigest().encode())


class SetWeight(keras.callbacks.Callback):
    """Sets one weight behind a step, which that step's loss does not show."""

    def __init__(self, step, value):
        super().__init__()
        self.step, self.value = step, value

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            weight = self.model.trainable_variables[0]
            values = keras.ops.convert_to_numpy(weight)
            values.flat[0] = self.value
            weight.assign(values)


@pytest.mark.slow
def test_loss_that_is_nan_stops_the_run_in_that_step_with_the_last_checkpoint_kept(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"loss became nan in epoch 1, step 6.*step-00000004.keras, is kept"):
        run(tmp_path / "run", callbacks=[SetWeight(5, np.nan)], checkpoint_steps=4)
    position, model = load_latest(tmp_path / "run" / "checkpoints", STEPS)
    assert position.batch == 4 and all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weight_that_is_no_number_is_never_saved(value, tmp_path):
    """The loss of that step was that of the weights before it, and finite."""
    with pytest.raises(
        TrainingDiverged, match=r"A weight, .*kernel, became NaN or infinite by step 5.*nothing was saved"
    ):
        run(tmp_path / "run", callbacks=[SetWeight(5, value)], checkpoint_steps=5)
    assert find_checkpoints(tmp_path / "run" / "checkpoints", STEPS) == []


@pytest.mark.slow
def test_full_disk_stops_the_run_with_one_line_and_the_last_checkpoint_whole(tmp_path, monkeypatch):
    """The system's own error, where the file is brought to the disk."""
    from dirac_keras.files import atomic

    real = atomic.sync

    def full(path):
        if path.name.endswith("step-00000006.keras"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path)

    monkeypatch.setattr(atomic, "sync", full)
    line = r"step-00000006.keras cannot be written: No space left on device; .*step-00000003.keras, is kept"
    with pytest.raises(ValueError, match=line):
        run(tmp_path / "run", checkpoint_steps=3)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003.keras"]
    monkeypatch.undo()
    assert load_latest(tmp_path / "run" / "checkpoints", STEPS)[0].batch == 3


@pytest.fixture
def small_disk(tmp_path):
    """Function `(option) -> None` that mounts 2 MB of memory, or changes how it is mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)

    if mount("size=2m").returncode:
        pytest.skip("mounting a small file system needs root")
    mount.folder = folder
    yield mount
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("left", slow_but([0, 60_000, 200_000], 60_000))
def test_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(left, small_disk, tmp_path):
    """Whatever does not fit any more: the lock, the record, a checkpoint, the events, the table, the pictures."""
    fill = small_disk.folder / "fill"
    fill.write_bytes(b"\0" * (os.statvfs(small_disk.folder).f_bavail * 4096 - left))
    folder = small_disk.folder / "run"
    with pytest.raises((ValueError, OSError), match="No space left on device"):
        run(folder, checkpoint_steps=3)
    fill.unlink()
    assert not list(folder.glob("**/.tmp-*"))
    assert_same_run(run(folder, checkpoint_steps=3), run(tmp_path / "whole"))


@pytest.mark.slow
def test_run_on_a_read_only_disk_says_so(small_disk):
    with pytest.raises(Killed):
        run(small_disk.folder / "run", callbacks=[KillAfter(5)], checkpoint_steps=3)
    small_disk("remount,ro")
    with pytest.raises(ValueError, match=r"workdir .*run cannot be written: Read-only file system\."):
        run(small_disk.folder / "run", checkpoint_steps=3)
    small_disk("remount,rw")
    assert load_latest(small_disk.folder / "run" / "checkpoints", STEPS)[0].batch == 3


@pytest.mark.slow
def test_second_run_on_a_folder_is_refused(tmp_path):
    def begin_another():
        with pytest.raises(ValueError, match=r"workdir .*run is in use: process \d+ on .* trains there"):
            run(tmp_path / "run")
        with pytest.raises(ValueError, match="is in use"):
            run(tmp_path / "run", overwrite=True)
        raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5, act=begin_another)], checkpoint_steps=2)
    assert [step for step, _ in find_checkpoints(tmp_path / "run" / "checkpoints", STEPS)] == [4, 2]
    assert not (tmp_path / "run" / ".lock").exists()
