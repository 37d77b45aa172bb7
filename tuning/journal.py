"""`Journal`: what has happened in a search, a line each, from which its state is made again."""

import json
import os
import pathlib

from dirac_keras.errors import UserError

WAY_OUT = "Give another `workdir`, or `overwrite=True` to delete that search."


class Journal:
    """An append-only file of JSON lines; each is on disk before `add` returns.

    A search's state is not saved: it is a function of the oracle's seed and of what happened, in order. KerasTuner's
    own files are written in place, trial and oracle one after the other, so that a kill between or within the two
    loses a trial, repeats one, or leaves a file that cannot be read.

    Args:
        path: of the file, made by the first `add`. A last line that a kill has cut short is dropped.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.events, whole = _read(self.path)
        if self.path.exists() and self.path.stat().st_size > whole:
            os.truncate(self.path, whole)

    def add(self, event, **values):
        """Append one event."""
        record = {"event": event, **values}
        line = json.dumps(record) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        self.events.append(record)


def _read(path):
    """The whole lines of a journal, and the bytes they take."""
    if not path.exists():
        return [], 0
    try:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        return [json.loads(line) for line in data[:whole].splitlines()], whole
    except (OSError, ValueError) as error:
        raise UserError(f"{path}, the journal of this search, is damaged: {error}. {WAY_OUT}") from error
