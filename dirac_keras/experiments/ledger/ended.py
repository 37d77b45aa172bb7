"""A run that has ended, as the ledger needs it: config, record, figures. Its model need not be there."""

import dataclasses

from dirac_keras.errors import UserError
from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.kept import read_kept
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.records import RunRecord


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
    return Ended(directory, config, record, *read_kept(directory))
