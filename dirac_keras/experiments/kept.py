"""A run whose figures are kept without its model, as those behind the ledger are: 4 KB that tables are made from."""

from dirac_keras.errors import UserError
from dirac_keras.files.records import read_sealed
from dirac_keras.files.tables import read_table
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.records import SummaryRecord

WAY_OUT = "Copy the run's folder again."


def has_figures_alone(directory):
    """Whether a `RunDirectory` has the figures of a finished run, without model and checkpoints."""
    is_kept = directory.config.exists() and directory.summary.exists() and not directory.is_finished()
    return is_kept and not directory.checkpoints.is_dir()  # between its figures and its model, a run has checkpoints


def read_kept(directory):
    """Rows of `metrics.csv`, none where that was not kept, and the final figures.

    Args:
        directory: `RunDirectory`, with its model or without.

    Raises: UserError: if a file is damaged, or of another run.
    """
    checked, summary = read_sealed(directory.summary, SummaryRecord, "the summary of a run", WAY_OUT)
    if checked.run != directory.record().run:
        raise UserError(f"path: {directory.summary} is another run's. {WAY_OUT}")
    if not directory.metrics.exists():
        return [], summary
    digest = (checked.tables or {}).get(run_tables.METRICS)
    if digest is not None and run_tables.digests(directory.path).get(run_tables.METRICS) != digest:
        raise UserError(f"path: {directory.metrics} has changed since the run was finished. {WAY_OUT}")
    rows = read_table(directory.metrics, "epoch")
    if not rows:
        raise UserError(f"path: {directory.metrics} has no epochs. {WAY_OUT}")
    return rows, summary
