"""`Journal`: what has happened in a search, a line each, from which its state is made again."""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re

from dirac_keras.errors import UserError
from dirac_keras.files.records import parse_record
from tuning.records import Event

logger = logging.getLogger("dirac_keras")
WAY_OUT = "Give another `workdir`, or `overwrite=True` to delete that search."
_LINE = re.compile(rb'(\{.*), "check": "([0-9a-f]{32})"\}')


class Journal:
    """An append-only file of JSON lines; each is on disk before `add` returns.

    A search's state is not saved: it is a function of the oracle's seed and of what happened, in order. KerasTuner's
    own files are written in place, trial and oracle one after the other, so that a kill between or within the two
    loses a trial, repeats one, or leaves a file that cannot be read.

    Each line ends with a checksum of itself, of the line before it and so of all lines, and of the search's record:
    a line that was changed, left out, or is another search's is refused.

    Args:
        path: of the file, made by the first `add`. A last line that a kill has cut short is dropped.
        search: dict, the content of `search.json`. One without an identifier was begun by 0.1.0 or before: its first
            lines have no checksums, and what the lines themselves can tell is checked.

    Attributes:
        events: list of dicts, one a line.

    Raises: UserError: if a line is damaged, with its number.
    """

    def __init__(self, path, search=None):
        self.path = pathlib.Path(path)
        self.is_broken = False
        self._check = _digest("", json.dumps(search or {}, sort_keys=True).encode())
        self._is_old = not (search or {}).get("search")
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            self._whole = data.rfind(b"\n") + 1
            self.events = [self._read(*numbered) for numbered in enumerate(data[: self._whole].splitlines(), 1)]
            if len(data) > self._whole:
                logger.warning("%s ends within a line, which a kill has cut short; it is dropped", self.path)
                os.truncate(self.path, self._whole)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}. {WAY_OUT}") from error

    def add(self, event, **values):
        """Append one event.

        Raises: UserError: if it cannot be written; then the journal ends with the event before it.
        """
        record = {"event": event, **values}
        body = json.dumps(record, allow_nan=False)[:-1]
        check = _digest(self._check, body.encode())
        line = f'{body}, "check": "{check}"}}\n'.encode()
        try:
            if self.is_broken:
                raise OSError("an event before could not be written")
            with open(self.path, "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.is_broken = True
            with contextlib.suppress(OSError):  # no half line, behind which another would be unreadable
                os.truncate(self.path, self._whole)
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        self._check, self._whole = check, self._whole + len(line)
        self.events.append(record)

    def refuse(self, number, what):
        """Raise UserError for the line of event `number`, from 0: `what` is wrong with it."""
        self._refuse(number + 1, what)

    def _read(self, number, line):
        """The event of a line, whose checksum is the next to expect."""
        match = _LINE.fullmatch(line)
        body = match[1] if match else line.removesuffix(b"}")
        check = _digest(self._check, body)
        if match:
            self._is_old = False
            if check != match[2].decode():
                self._refuse(number, "was changed, or is not this search's: its checksum does not fit")
        elif not self._is_old:
            self._refuse(number, "was changed: it has no checksum")
        self._check = check
        text = body + b"}"
        parse_record(text, Event, f"{self.path}, line {number},", "an event of a search", self._way_out(number))
        return json.loads(text)

    def _refuse(self, number, what):
        raise UserError(f"{self.path}, the journal of this search: line {number} {what}. {self._way_out(number)}")

    def _way_out(self, number):
        rest, then = f"line {number} and all below it", f"resumes behind line {number - 1}"
        if number == 1:
            rest, then = "it", "begins anew"
        return (
            f"Restore the file, or delete {rest}: the search then {then} and reads trainings that are finished. "
            f"{WAY_OUT.replace('Give', 'Or give')}"
        )


def _digest(before, body):
    """Checksum of a line that follows the one with the checksum `before`."""
    return hashlib.sha256(before.encode() + body).hexdigest()[:32]
