"""How a run of an experiment ended: finished, diverged, or not yet."""

import re

from dirac_keras.errors import UserError
from dirac_keras.experiments.kept import has_figures_alone
from dirac_keras.training.folder.endings import DIVERGED, record_divergence

__all__ = ["DIVERGED", "diverged", "has_ended", "record_divergence"]


def diverged(directory):
    """Whether the run in a `RunDirectory` ended without a number for its loss: its `diverged.txt` says so of this run.

    Raises: ValueError: if that file is another run's.
    """
    path = directory.path / DIVERGED
    if not path.exists():
        return False
    try:
        found = re.search(r"^run: (\w+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}.") from error
    ours = directory.record().run
    if ours is not None and (found is None or found[1] != ours):  # 0.1.0 and before wrote no identifier
        raise UserError(f"path: {path} is of another run than the folder. Move it elsewhere.")
    return True


def has_ended(directory):
    """Whether the folder of a `RunDirectory` holds a run that is finished, its figures at least, or diverged."""
    return directory.is_finished() or has_figures_alone(directory) or diverged(directory)
