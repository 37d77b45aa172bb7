"""What is written whole is for whom the umask says, whoever made it."""

import os
import shutil
import stat
import tempfile

import pytest

from dirac_keras.files.atomic import atomic_path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o022, 0o755, 0o644), (0o027, 0o750, 0o640)])
def test_folder_of_a_temporary_one_can_be_read_by_others(tmp_path, umask, folder, file):
    """A temporary folder and files of some libraries are their owner's alone; a program stays one."""
    before = os.umask(umask)
    try:
        with tempfile.TemporaryDirectory() as made, atomic_path(tmp_path / "out") as temporary:
            os.mkdir(os.path.join(made, "inside"), 0o700)
            for name, own in (("weights", 0o600), ("inside/program", 0o700)):
                with open(os.path.join(made, name), "w", encoding="utf-8") as stream:
                    os.fchmod(stream.fileno(), own)
            shutil.copytree(made, temporary)
        assert os.umask(umask) == umask  # it was left as it was
    finally:
        os.umask(before)
    assert mode(tmp_path / "out") == mode(tmp_path / "out" / "inside") == folder
    assert mode(tmp_path / "out" / "weights") == file
    assert mode(tmp_path / "out" / "inside" / "program") == 0o700 | file
