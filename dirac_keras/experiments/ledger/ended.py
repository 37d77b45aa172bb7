"""A run that has ended, as the ledger needs it: config, record, figures. Its model need not be there."""

import dataclasses

from dirac_keras.errors import UserError
from dirac_keras.experiments.endings import diverged
from dirac_keras.files.records import read_sealed
from dirac_keras.files.tables import read_table
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.records import RunRecord, SummaryRecord

WAY_OUT = "Copy the run's folder again."


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        directory: `RunDirectory`.
        config: `TrainConfig`.
        record: `RunRecord`.
        rows: of `metrics.csv`, empty where that was not kept; None of a run that diverged.
        summary: dict of the final figures; None of a run that diverged.
    """

    directory: RunDirectory
    config: TrainConfig
    record: RunRecord
    rows: list | None
    summary: dict | None

    @property
    def version(self):
        return self.record.versions.get("dirac_keras")

    @property
    def date(self):
        """On which it began, `2026-11-27`; empty of a run that does not say."""
        return (self.record.started or "")[:10]


def read_ended(directory):
    """The `Ended` of a folder that holds a summary, or says that its run diverged.

    Raises: UserError: if a file is damaged, or of another run.
    """
    record = directory.record()
    try:
        config = directory.read_config()
    except (UserError, TypeError) as error:
        raise UserError(
            f"a run of another version, dirac_keras {record.versions.get('dirac_keras')}: {error}"
        ) from None
    if diverged(directory):
        return Ended(directory, config, record, None, None)
    checked, summary = read_sealed(directory.summary, SummaryRecord, "the summary of a run", WAY_OUT)
    if checked.run != record.run:
        raise UserError(f"path: {directory.summary} is another run's. {WAY_OUT}")
    if not directory.metrics.exists():
        return Ended(directory, config, record, [], summary)
    digest = (checked.tables or {}).get(run_tables.METRICS)
    if digest is not None and run_tables.digests(directory.path).get(run_tables.METRICS) != digest:
        raise UserError(f"path: {directory.metrics} has changed since the run was finished. {WAY_OUT}")
    rows = read_table(directory.metrics, "epoch")
    if not rows:
        raise UserError(f"path: {directory.metrics} has no epochs. {WAY_OUT}")
    return Ended(directory, config, record, rows, summary)
