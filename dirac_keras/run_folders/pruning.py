"""What of finished and failed runs can go: a plan first, which `prune` carries out, each run under its lock.

Checkpoints of a run that has ended are of no use any more: its model is there. A run that can be resumed keeps all.
Only files of the run are touched: those that it has listed, under the names that it gives.
"""

import contextlib
import dataclasses
import pathlib
import re
from zipfile import is_zipfile

from dirac_keras.errors import UserError
from dirac_keras.files.lock import locked
from dirac_keras.files.manifest import Manifest
from dirac_keras.files.run_files import KNOWN_FILES
from dirac_keras.run_folders.reading import CHECKPOINTS, DIVERGED, ENDED, INTERRUPTED, MODEL, RUNNING, read_run, size_of

CHECKPOINT_NAME = re.compile(r"(step|epoch|best)-\d+\.keras")


@dataclasses.dataclass(frozen=True)
class Pruning:
    """What goes of one run.

    Attributes:
        path: `pathlib.Path` of the run.
        status: str.
        files: tuple of `pathlib.Path`, its checkpoints; empty where the whole run goes.
        is_whole: bool, whether the whole run goes.
        bytes: int, of what goes.
    """

    path: pathlib.Path
    status: str
    files: tuple
    is_whole: bool
    bytes: int

    def to_dict(self):
        what = "run" if self.is_whole else "checkpoints"
        return {"path": str(self.path), "status": self.status, "removes": what, "files": len(self.files),
                "bytes": self.bytes}  # fmt: skip


def plan_pruning(rows, failed=False):
    """What can go of runs.

    Args:
        rows: list of dicts of `read_run`.
        failed: bool, whether runs go as a whole that diverged, or stopped before their first checkpoint.

    Returns: `(list of Pruning, list of (path, reason))`: what goes, and which runs keep something that one might think
        goes.
    """
    plan, kept = [], []
    for row in rows:
        path = pathlib.Path(row["path"])
        checkpoints = find_checkpoints(path)
        has_failed = row["status"] == DIVERGED or (row["status"] == INTERRUPTED and not checkpoints)
        if row["status"] == RUNNING:
            kept.append((path, "it is running"))
        elif has_failed and failed:
            plan.append(Pruning(path, row["status"], (), True, size_of(path)))
        elif has_failed:
            kept.append((path, f"{row['status']}; --failed removes it as a whole"))
        elif row["status"] == ENDED and checkpoints and not is_zipfile(path / MODEL):
            kept.append((path, f"its {MODEL} is damaged or absent: the checkpoints are all that is left"))
        elif row["status"] == ENDED and checkpoints:
            plan.append(Pruning(path, ENDED, checkpoints, False, sum(one.stat().st_size for one in checkpoints)))
        elif row["status"] == INTERRUPTED:
            kept.append((path, "interrupted: it can be resumed"))
    return plan, kept


def find_checkpoints(path):
    """The checkpoints that a run has written, as a tuple of `pathlib.Path`."""
    manifest = Manifest(path)
    listed = None  # a run of 0.1.0 has no list
    if manifest.exists():
        listed = {entry for entry in manifest.entries() if isinstance(entry, str)}  # a pattern names no checkpoint
    folder = path / CHECKPOINTS
    if folder.is_symlink() or not folder.is_dir():
        return ()
    return tuple(
        one
        for one in sorted(folder.iterdir())
        if CHECKPOINT_NAME.fullmatch(one.name)
        and one.is_file()
        and not one.is_symlink()
        and (listed is None or f"{CHECKPOINTS}/{one.name}" in listed)
    )


def prune(plan):
    """Delete what a plan says, each run under its lock and looked at again there.

    Args:
        plan: list of `Pruning`.

    Returns: `(list of Pruning, list of (path, reason))`: what went, and what did not.
    """
    gone, kept = [], []
    for one in plan:
        try:
            with locked(one.path):
                reason = _remove(one)
        except UserError as error:
            reason = str(error)
        if reason is None:
            gone.append(one)
            if one.is_whole:
                with contextlib.suppress(OSError):  # another process has written there since
                    one.path.rmdir()
        else:
            kept.append((one.path, reason))
    return gone, kept


def _remove(one):
    """None if what was planned is gone; else why it is not."""
    row = read_run(one.path, is_ours=True)
    if row is None or row["status"] != one.status:
        return "it has changed since"
    if one.is_whole:
        _clear(one.path)
        return None
    for path in find_checkpoints(one.path):
        if path in one.files:
            path.unlink()
    return None


def _clear(path):
    """Delete all that a run has listed. Raises: UserError: if anything else is in its folder."""
    Manifest(path, KNOWN_FILES).clear("folder")
