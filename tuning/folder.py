"""The folder of a search: whose it is, and what is written there as trials end."""

import json
import shutil

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.files.lock import LOCK_FILES
from tuning.journal import WAY_OUT
from tuning.progress import best_record
from tuning.report import hparams, tables

SEARCH_FILE = "search.json"


def open_folder(workdir, settings, overwrite):
    """Make the folder this search's, or see that it is.

    Raises: UserError: if it holds another search, or something else.
    """
    path = workdir / SEARCH_FILE
    if overwrite and path.exists():
        for other in workdir.iterdir():
            if other.name not in LOCK_FILES:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    if path.exists():
        try:
            different = settings.differences(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}. {WAY_OUT}") from None
        if different:
            raise UserError(
                f"workdir {workdir} holds another search: {'; '.join(different[:3])}"
                f"{f'; and {len(different) - 3} more' if len(different) > 3 else ''}. {WAY_OUT}"
            )
    elif any(other.name not in LOCK_FILES for other in workdir.iterdir()):
        raise UserError(f"workdir {workdir} holds something that is no search. Give another `workdir`.")
    else:
        write_text(path, json.dumps(settings.to_dict(), indent=2) + "\n")


class SearchFiles:
    """Listener that keeps the search's files up to date."""

    def __init__(self, workdir, oracle, settings):
        self.workdir, self.oracle, self.settings = workdir, oracle, settings
        if not (workdir / "tb").exists():
            hparams.write_experiment(workdir / "tb", settings.space, settings.max_epochs)
        for number, record in oracle.records.items():
            if not (workdir / "tb" / f"{number:04d}").exists():  # a kill came between the journal and this
                hparams.write_trial(workdir / "tb", record)

    def trial_began(self, number, values):
        pass

    def trial_ended(self, number, record):
        hparams.write_trial(self.workdir / "tb", record)
        self.write_tables()

    def write_tables(self):
        if not self.oracle.records:
            return
        tables.write_trials(self.workdir / "trials.csv", list(self.oracle.records.values()))
        if best := best_record(self.oracle.records):
            tables.write_best(self.workdir / "best.toml", best, self.settings)

    def finish(self, console, seconds, new_records):
        """The picture, the tables, the importances; and what this call took for its new records."""
        records = list(self.oracle.records.values())
        table, rows, fit = tables.importance_table(records, self.settings.seed)
        training = sum(record.get("seconds", 0) for record in new_records)
        call = {"trials": len(new_records), "seconds": round(seconds, 3), "training_seconds": round(training, 3)}
        tables.write_summary(self.workdir / "summary.json", self.oracle, self.settings, rows, fit, call)
        if best_record(self.oracle.records):
            tables.draw(self.workdir / "pareto.png", records, self.settings)
            console.print(tables.front_table(records))
        if table:
            console.print(table)


class Listeners:
    """Several listeners of an oracle as one."""

    def __init__(self, *listeners):
        self.listeners = listeners

    def trial_began(self, number, values):
        for listener in self.listeners:
            listener.trial_began(number, values)

    def trial_ended(self, number, record):
        for listener in self.listeners:
            listener.trial_ended(number, record)
