"""The tables of a run: a checkpoint knows what they held, and a resumed run sees to it that they still do."""

import hashlib
import logging

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.atomic import write_text
from dirac_keras.files.tables import parse_table, read_table

logger = logging.getLogger("dirac_keras")

METRICS = "metrics.csv"
TABLES = {METRICS: "epoch", "scales.csv": "epoch", "skips.csv": "step"}  # name -> the column that every row has


def read_texts(folder):
    """`{name: text}` of the tables that are in a run's folder."""
    texts = {}
    for name in TABLES:
        path = folder / name
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"path: {path} cannot be read: {error}.") from error
    return texts


def digests(folder):
    """`{name: SHA-256}` of the tables that are in a run's folder."""
    texts = read_texts(folder)
    return {name: f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for name, text in texts.items()}


def restore(folder, position):
    """Give the tables back the rows that they had when the state of a `Position` was saved, and say so in the log.

    Rows behind them, of steps that will be trained again, are no matter.

    Args:
        folder: `pathlib.Path` of the run.
        position: `Position` with `tables`; of a checkpoint without them only `metrics.csv` can be checked.

    Raises: ValueError: if `metrics.csv` has not the rows of the finished epochs and they are not known.
    """
    for name, text in position.tables.items():
        path = folder / name
        expected = parse_table(text, path) if name in TABLES else []
        if not _begins_with(path, expected):
            logger.warning("%s is damaged or not this run's: its rows are restored from the checkpoint", path)
            write_text(path, text)
    if METRICS not in position.tables and position.epoch:
        _check_epochs(folder / METRICS, position.epoch)


def _begins_with(path, expected):
    try:
        rows = read_table(path)
    except UserError:
        return False
    return list(map(_filled, rows[: len(expected)])) == list(map(_filled, expected))


def _filled(row):
    """A row without the fields that others have: a column that came later is empty in it."""
    return {name: value for name, value in row.items() if value != ""}


def _check_epochs(path, finished):
    if not path.exists():
        logger.warning("%s is gone, and with it the rows of the first %s", path, counted(finished, "epoch"))
        return
    found = [row["epoch"] for row in read_table(path, "epoch")][:finished]
    if found != list(range(1, finished + 1)):
        raise UserError(
            f"path: {path} does not hold the epochs 1 to {finished} that the run has finished: it is damaged, or "
            "another run's. Restore it, or remove it to resume without those rows."
        )
