"""The folder of a search: whose it is, and what is written there as trials end."""

import json
import logging
import secrets

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.files.lock import LOCK_FILES
from dirac_keras.files.manifest import MANIFEST_FILE, Manifest
from dirac_keras.files.records import read_record
from dirac_keras.listing import listed
from dirac_keras.training.folder.directory import KNOWN_FILES
from tuning.journal import WAY_OUT, Journal
from tuning.progress import best_record
from tuning.records import SearchRecord
from tuning.report import hparams, tables

logger = logging.getLogger("dirac_keras")
SEARCH_FILE, JOURNAL_FILE = "search.json", "journal.jsonl"
# What others name: TensorFlow, the workers.
PATTERNS = ("tb/events.out.tfevents.*", "tb/*/events.out.tfevents.*", "workers/*.log")
# What is in the folder of a search of 0.1.0 or before, which has no list of its files.
FORMER_FILES = (
    *(SEARCH_FILE, JOURNAL_FILE, "trials.csv", "best.toml", "pareto.png", "summary.json", *PATTERNS),
    *("keras_tuner/*/*.json", "keras_tuner/*/*/*.json", "keras_tuner/*/*/*/*.json"),
    *(f"trials/*/run*/{name}" for name in KNOWN_FILES),
)


def open_folder(workdir, settings, overwrite):
    """Make the folder this search's, or see that it is.

    Args:
        workdir: `pathlib.Path`, locked.
        settings: `Settings`.
        overwrite: whether to delete what another search has written there. Anything else stops it before anything is
            touched.

    Returns: `Journal`.
    Raises: UserError: if it holds another search, or something else.
    """
    path, manifest = workdir / SEARCH_FILE, Manifest(workdir, FORMER_FILES)
    if overwrite and _holds_search(workdir, manifest):
        manifest.clear()
    if path.exists():
        record = _read_search(path)
        if different := settings.differences(record):
            raise UserError(f"workdir {workdir} holds another search: {listed(different, between='; ')}. {WAY_OUT}")
    elif left := sorted(other.name for other in workdir.iterdir() if other.name not in (*LOCK_FILES, MANIFEST_FILE)):
        raise UserError(
            f"workdir {workdir} holds something that is no search ({listed(left)}). Give another `workdir`."
        )
    else:
        record = {**settings.to_dict(), "search": secrets.token_hex(16)}
    try:
        manifest.begin()
        manifest.add(JOURNAL_FILE, patterns=PATTERNS)
    except OSError as error:
        raise UserError(f"workdir {workdir} cannot be written: {error.strerror or error}.") from error
    if not path.exists():
        write_text(path, json.dumps(record, indent=2) + "\n")
    return Journal(workdir / JOURNAL_FILE, record)


def _holds_search(workdir, manifest):
    """Whether the folder is a search's: by the list of its files, or without one by a record that can be read."""
    if manifest.exists():
        return SEARCH_FILE in manifest.entries()
    if (workdir / SEARCH_FILE).exists():
        _read_search(workdir / SEARCH_FILE)
        return True
    return False


def _read_search(path):
    """`search.json` as a dict. Raises: UserError: if it is not the record of a search."""
    read_record(path, SearchRecord, "the record of a search", "Restore it, or give another `workdir`.")
    return json.loads(path.read_text(encoding="utf-8"))


class SearchFiles:
    """Listener that keeps the search's files up to date."""

    def __init__(self, workdir, oracle, settings):
        self.workdir, self.oracle, self.settings = workdir, oracle, settings
        self.manifest = Manifest(workdir)
        if not (workdir / "tb").exists():
            hparams.write_experiment(workdir / "tb", settings.space, settings.max_epochs)
        for number, record in oracle.records.items():
            if not (workdir / "tb" / f"{number:04d}").exists():  # a kill came between the journal and this
                hparams.write_trial(workdir / "tb", record)

    def trial_began(self, number, values):
        """List the trainings to come; the folder of each has a list of its own."""
        self.manifest.add(*(f"trials/{number:04d}/run{k}/" for k in range(self.settings.executions)))

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
