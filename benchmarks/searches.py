"""`python -m benchmarks.searches`: interrupt and damage small searches, call each again, compare with one left alone.

A search is the command `dirac-keras tune`, in a process of its own that is forked from this one, so that TensorFlow is
imported once. This process only reads files: TensorFlow does not survive a fork once it has computed.
"""

import contextlib
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import click
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.interruptions import small_disk, table_of_cases
from dirac_keras.files.atomic import write_text

COMMAND = ["tune", "--data=digits", "--family=plainnet", "--recipe=plainnet", "--depth=2-4", "--units=8,16"]
COMMAND += ["--learning-rate=0.01-0.1", "--max-train=256", "--max-test=50", "--batch-size=64", "--tuner=random"]
COMMAND += ["--max-trials=3", "--max-epochs=2", "--max-params=2000", "--precision=float32"]
# What a trial comes to, whatever the clock says.
COLUMNS = ("trial", "status", "score", "epochs", "test_accuracy", "parameters", "macs", "depth", "units")
COLUMNS += ("learning_rate", "weight_decay")
LIMIT_SECONDS = 600


class Process:
    """`dirac-keras tune` on a folder, in a process forked from this one."""

    def __init__(self, workdir, *arguments):
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._start = time.perf_counter()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._become_the_command([*COMMAND, f"--workdir={workdir}", *arguments])

    def _become_the_command(self, arguments):
        status = 1
        try:
            os.dup2(self._said.fileno(), 1)
            os.dup2(self._said.fileno(), 2)
            sys.argv = ["dirac-keras", *arguments]
            from dirac_keras.cli import main

            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def interrupt(self, number, seconds):
        """Send a signal after so many seconds, if the process still runs then."""
        due = time.perf_counter() + seconds
        while self._runs() and time.perf_counter() < due:
            time.sleep(0.002)
        if self._runs():
            os.kill(self.pid, number)

    def end(self):
        """Wait for the end. Returns: status (negative: the signal), the last line that it said, seconds."""
        while self._runs():
            if time.perf_counter() - self._start > LIMIT_SECONDS:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        fault = "a traceback" if "Traceback" in said else "a fault" if "fault of dirac-keras" in said else ""
        return status, fault or (lines[-1] if lines else ""), time.perf_counter() - self._start

    def _runs(self):
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def results(workdir):
    """What `trials.csv` says of each trial."""
    with open(workdir / "trials.csv", newline="", encoding="utf-8") as file:
        return [{name: row[name] for name in COLUMNS} for row in csv.DictReader(file)]


def ends_as(whole, workdir):
    """An empty text if the search, called again, ends as the one left alone; else what is wrong."""
    status, line, _ = Process(workdir).end()
    if status:
        return f"status {status}: {line}"
    return "" if results(workdir) == results(whole) else "other results"


def kill(number):
    """A case: the signal at any moment of the process."""

    def case(whole, seconds, workdir, rng):
        process = Process(workdir)
        process.interrupt(number, rng.uniform(0, seconds))
        status, line, _ = process.end()
        if status == 0:
            return None  # it ended first
        expected = -number if number == signal.SIGKILL else 128 + number
        trouble = "" if status == expected else f"status {status}"
        return line, trouble or ends_as(whole, workdir)

    return case


def fill_disk(disk):
    """A case: a disk that fills while the search writes. It stops with one line, no trial has failed for it."""

    def case(whole, seconds, workdir, rng):
        fill, workdir = disk / "fill", disk / workdir.name
        room = rng.choice((0, 20_000, 60_000, 120_000, 200_000, 280_000, 400_000))
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        fill.write_bytes(b"\0" * max(free - room, 0))
        status, line, _ = Process(workdir).end()
        fill.unlink()
        trouble = "" if status == 1 and "No space left" in line else f"status {status}"
        trouble = trouble or ends_as(whole, workdir)
        shutil.rmtree(workdir, ignore_errors=True)
        return f"{room:,} bytes left: {line}", trouble

    return case


def _text(change):
    """A damage of a file's text."""

    def damage(path, rng):
        path.write_text(change(path.read_text(encoding="utf-8", errors="surrogateescape"), rng),
                        encoding="utf-8", errors="surrogateescape")  # fmt: skip

    return damage


def _flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
    path.write_bytes(data)


def _digit(text, rng):
    places = [k for k, letter in enumerate(text) if letter.isdigit()]
    place = rng.choice(places)
    return text[:place] + str((int(text[place]) + 1 + rng.randrange(8)) % 10) + text[place + 1 :]


def _lines(change):
    def damage(text, rng):
        lines = text.splitlines(keepends=True)
        change(lines, rng.randrange(max(len(lines) - 1, 1)))
        return "".join(lines)

    return _text(damage)


DAMAGES = {
    "a digit changed": _text(_digit),
    "a bit flipped": _flip,
    "emptied": lambda path, rng: path.write_bytes(b""),
    "cut in half": lambda path, rng: os.truncate(path, path.stat().st_size // 2),
    "a list": lambda path, rng: path.write_text("[]\n"),
    "an empty object": lambda path, rng: path.write_text("{}\n"),
    "null": lambda path, rng: path.write_text("null\n"),
    "noise": lambda path, rng: path.write_bytes(rng.randbytes(300)),
    "deleted": lambda path, rng: path.unlink(),
    "a folder": lambda path, rng: (path.unlink(), path.mkdir()),
    "a line left out": _lines(lambda lines, k: lines.pop(k)),
    "a line twice": _lines(lambda lines, k: lines.insert(k, lines[k])),
    "a line moved": _lines(lambda lines, k: lines.append(lines.pop(k))),
    "a line of another": _text(lambda text, rng: text + '{"event": "end", "trial": 9, "status": "COMPLETED"}\n'),
}
DAMAGED_FILES = ("journal.jsonl", "journal.jsonl", "search.json", "trials/0002/run0/metrics.csv",
                 "trials/0002/run0/config.json", "trials/0002/run0/summary.json", ".dirac-keras-files", "trials.csv",
                 "best.toml", "summary.json")  # fmt: skip


def damage(name, file):
    """A case: a file of a search whose last trial is not in the journal yet. It is refused by name, or changes nothing.

    What the search or its run says must name the file, or the folder where that is what is wrong.
    """

    def case(whole, seconds, workdir, rng):
        shutil.copytree(whole, workdir)
        journal = workdir / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-1]))  # killed before its last trial's end was written
        DAMAGES[name](workdir / file, rng)
        status, line, _ = Process(workdir).end()
        if status == 0:
            return f"{file}, {name}: read", "" if results(workdir) == results(whole) else "other results"
        is_named = status == 1 and (pathlib.Path(file).name in line or str(workdir) in line)
        return f"{file}, {name}: {line}", "" if is_named else f"status {status}"

    return case


@click.command(cls=Benchmark)
@click.option("--kills", default=12, show_default=True, help="kill -9 at any moment of the process.")
@click.option("--terminations", default=5, show_default=True, help="SIGTERM at any moment.")
@click.option("--full-disk", default=5, show_default=True, help="Searches on a small disk that fills (needs root).")
@click.option("--damaged", default=len(DAMAGES) * len(DAMAGED_FILES), show_default=True, help="Damaged files.")
@click.option("--seed", default=0, show_default=True, help="Of the moments and damages.")
@click.option("--json", "path", type=click.Path(), help="Write the rows here too.")
def main(kills, terminations, full_disk, damaged, seed, path):
    """Interrupt and damage searches, call each again, and compare its trials with those of one left alone."""
    import pipelines  # noqa: F401
    import tuning  # noqa: F401

    rng = random.Random(seed)
    console = Console(width=None if sys.stdout.isatty() else 240)
    rows = []
    with tempfile.TemporaryDirectory() as folder, small_disk(pathlib.Path(folder) / "disk", full_disk) as disk:
        folder = pathlib.Path(folder)
        status, line, seconds = Process(folder / "whole").end()
        if status:
            raise click.ClickException(f"the search left alone ended with status {status}: {line}")
        console.print(f"{len(results(folder / 'whole'))} trials; alone {seconds:.1f} s", highlight=False)
        if full_disk and not disk:
            console.print("full disk: not tried, mounting a small file system needs root")
        cases = [("kill -9", kill(signal.SIGKILL))] * kills + [("SIGTERM", kill(signal.SIGTERM))] * terminations
        cases += [("full disk", fill_disk(disk))] * (full_disk if disk else 0)
        pairs = [(name, file) for name in DAMAGES for file in DAMAGED_FILES]
        cases += [("damaged", damage(*pair)) for pair in rng.sample(pairs, min(damaged, len(pairs)))]
        for number, (name, case) in enumerate(cases):
            rows.append({"case": name, **_try(case, folder, seconds, number, rng)})
            console.print(f"{number + 1:>3} {name:9} {rows[-1]['result']}: {rows[-1]['line']}", highlight=False,
                          markup=False)  # fmt: skip
    console.print(table_of_cases("as the search left alone, or refused by name", rows, "good"))
    if path:
        write_text(pathlib.Path(path), json.dumps(rows, indent=2) + "\n")
    sys.exit(any(row["result"] != "good" for row in rows))


def _try(case, folder, seconds, number, rng):
    for attempt in range(20):  # a search may end before its moment comes
        workdir = folder / f"{number}-{attempt}"
        outcome = case(folder / "whole", seconds, workdir, rng)
        shutil.rmtree(workdir, ignore_errors=True)
        if outcome is not None:
            line, trouble = outcome
            return {"line": line, "result": trouble or "good"}
    return {"line": "every search ended first", "result": "not tried"}


if __name__ == "__main__":
    main()
