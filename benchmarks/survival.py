"""`python -m benchmarks.survival`: interrupt short runs in every way, resume them, compare with an uninterrupted one.

A run is the command `dirac-keras train`, in a process of its own that is forked from this one, so that TensorFlow is
imported once. This process only reads files: TensorFlow does not survive a fork once it has computed.
"""

import csv
import io
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from dataclasses import dataclass

import click
import h5py
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.interruptions import small_disk, table_of_cases
from dirac_keras.files.atomic import write_text
from dirac_keras.files.lock import LOCK_FILE
from dirac_keras.training.folder.checkpoints import Checkpoint, find_checkpoints

STEPS = 8  # an epoch
EVERY = 3  # steps from one checkpoint to the next
COMMAND = ["train", "--data=digits", "--max-train=512", "--max-test=100", "--batch-size=64", "--no-export"]
COMMAND += ["--precision=float32", f"--checkpoint-steps={EVERY}"]
NETWORKS = {
    "dirac": ["--depth=10", "--width=0.25", "--epochs=8"],
    "van": ["--family=van", "--depth=4", "--units=16", "--recipe=van_dense", "--learning-rate=0.1", "--epochs=8",
            "--phase-out-start=1", "--phase-out-end=5"],
}  # fmt: skip
CLOCK = {"seconds", "images_per_second", "step_milliseconds", "input_wait_share", "peak_memory_mib"}
LIMIT_SECONDS = 600


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (negative: the signal), what it said, and the step it had finished."""

    status: int
    line: str
    step: int
    seconds: float


class Process:
    """`dirac-keras train` on a folder, in a process forked from this one."""

    def __init__(self, network, workdir):
        self._step = mmap.mmap(-1, 8)  # shared with the child
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._start = time.perf_counter()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._become_the_command([*COMMAND, *NETWORKS[network], f"--workdir={workdir}"])

    def _become_the_command(self, arguments):
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(self._said.fileno(), 2)
            sys.argv = ["dirac-keras", *arguments]
            count = Checkpoint.on_train_batch_end

            def on_train_batch_end(callback, batch, logs=None):
                self._step[:] = (callback._epoch * STEPS + batch + 1).to_bytes(8, "little")
                count(callback, batch, logs)

            Checkpoint.on_train_batch_end = on_train_batch_end
            from dirac_keras.cli import main

            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def runs(self):
        """Whether it has not ended."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait_until(self, condition):
        """Until the condition is met or the process ends."""
        while not condition() and self.runs():
            if time.perf_counter() - self._start > LIMIT_SECONDS:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)

    def interrupt(self, number, seconds):
        """Send a signal after so many seconds, if the process still runs then."""
        due = time.perf_counter() + seconds
        self.wait_until(lambda: time.perf_counter() >= due)
        if self.runs():
            os.kill(self.pid, number)

    def end(self):
        """Wait for it: an `Ended`."""
        self.wait_until(lambda: False)
        _, raw = os.waitpid(self.pid, 0)
        with self._said as said:
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if _is_ours(line)]
        step = int.from_bytes(self._step[:], "little")
        return Ended(os.waitstatus_to_exitcode(raw), " | ".join(lines), step, time.perf_counter() - self._start)


def _is_ours(line):
    notices = ("WARNING: All log", "I0000", "E0000", "W0000", "To enable", "precision ", "resuming after")
    return bool(line.strip()) and not line.startswith(notices)


class Trial:
    """A network's run left alone, and what others are compared with."""

    def __init__(self, network, folder):
        self.network = network
        self.folder = folder
        alone = self.train(folder / f"{network}-alone")
        self.seconds = alone.seconds
        self.weights = read_weights(folder / f"{network}-alone" / "model.keras")
        self.rows = read_rows(folder / f"{network}-alone" / "metrics.csv")

    def start(self, workdir):
        return Process(self.network, workdir)

    def train(self, workdir):
        """Train to the end. Raises: RuntimeError: if the command fails."""
        ended = self.start(workdir).end()
        if ended.status:
            raise RuntimeError(f"{workdir}: status {ended.status}: {ended.line}")
        return ended

    def goes_on_well(self, workdir):
        """Resume a run to its end: what differs from the uninterrupted one, or an empty text."""
        try:
            self.train(workdir)
        except RuntimeError as error:
            return str(error)
        weights = read_weights(workdir / "model.keras")
        if weights.keys() != self.weights.keys() or any(
            not np.array_equal(weights[name], self.weights[name]) for name in weights
        ):
            return "other weights"
        return "" if read_rows(workdir / "metrics.csv") == self.rows else "other metrics"


def read_weights(path):
    """`{name: array}` of all that a `.keras` file holds, optimizer included."""
    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def read_rows(path):
    """Rows of `metrics.csv` as text, without what the clock measured."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in CLOCK} for row in csv.DictReader(file)]


def newest_step(workdir):
    found = find_checkpoints(workdir / "checkpoints", STEPS)
    return found[0][0] if found else 0


def kill_nine(trial, workdir, rng):
    """A `kill -9` at any moment of the process: at most the interval is lost."""
    process = trial.start(workdir)
    process.interrupt(signal.SIGKILL, rng.uniform(0, trial.seconds))
    ended = process.end()
    if ended.status != -signal.SIGKILL:
        return None
    lost = max(ended.step - newest_step(workdir), 0)
    trouble = "" if lost <= EVERY else f"lost {lost} steps"
    return f"killed after step {ended.step}, {lost} lost", trouble or trial.goes_on_well(workdir), lost


def terminate(trial, workdir, rng):
    """SIGTERM at any moment of the training: nothing is lost, one line, status 143."""
    process = trial.start(workdir)
    process.wait_until((workdir / LOCK_FILE).exists)
    process.interrupt(signal.SIGTERM, rng.uniform(0, 0.9 * trial.seconds))
    ended = process.end()
    if ended.status == 0:
        return None
    lost = ended.step - newest_step(workdir)
    trouble = (
        "" if (ended.status, lost, ended.line.count("|")) == (143, 0, 0) else f"status {ended.status}, {lost} lost"
    )
    return ended.line, trouble or trial.goes_on_well(workdir)


DAMAGES = (
    ("cut short", lambda path: os.truncate(path, path.stat().st_size // 2)),
    ("a byte flipped", lambda path: _change(path, lambda content: content.__setitem__(len(content) // 3, 0xFF))),
    ("empty", lambda path: path.write_bytes(b"")),
    ("a zip without members", lambda path: zipfile.ZipFile(path, "w").close()),
    ("wrong checksum", lambda path: _change(path, lambda content: content.__setitem__(-1, ord("x")))),
)


def _change(path, change):
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def damage(trial, workdir, rng, number):
    """A damaged newest checkpoint is named, and the one before it is used."""
    process = trial.start(workdir)
    process.wait_until(lambda: len(find_checkpoints(workdir / "checkpoints", STEPS)) >= 2)
    process.interrupt(signal.SIGKILL, rng.uniform(0, 0.2))
    if process.end().status != -signal.SIGKILL:
        return None
    name, harm = DAMAGES[number % len(DAMAGES)]
    newest = find_checkpoints(workdir / "checkpoints", STEPS)[0][1]
    harm(newest)
    ended = trial.start(workdir).end()
    trouble = "" if ended.status == 0 and f"{newest.name} is not used" in ended.line else "not named"
    return f"{name}: {ended.line}", trouble or trial.goes_on_well(workdir)


def fill_disk(trial, workdir, rng, number, disk):
    """A disk that fills while the run writes: one line, status 1, and the run resumes when there is room."""
    workdir = disk / workdir.name
    fill = disk / "fill"
    room = (0, 20_000, 100_000, 160_000, 210_000)[number % 5]
    fill.write_bytes(b"\0" * max(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - room, 0))
    ended = trial.start(workdir).end()
    fill.unlink()
    kept = newest_step(workdir)
    trouble = "" if ended.status == 1 and "No space left" in ended.line and "|" not in ended.line else "no line"
    trouble = trouble or trial.goes_on_well(workdir)
    shutil.rmtree(workdir)
    return f"{room:,} bytes left, step {kept} kept: {ended.line}", trouble


@click.command(cls=Benchmark)
@click.option("--kills", default=50, show_default=True, help="kill -9 at any moment of the process.")
@click.option("--damaged", default=5, show_default=True, help="Checkpoints damaged in five ways.")
@click.option("--full-disk", default=5, show_default=True, help="Runs on a small disk that fills (needs root).")
@click.option("--terminations", default=10, show_default=True, help="SIGTERM at any moment of the training.")
@click.option("--network", type=click.Choice(list(NETWORKS)), default="dirac", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--json", "path", type=click.Path(), help="Write the rows here too.")
def main(kills, damaged, full_disk, terminations, network, seed, path):
    """Interrupt runs, resume each, and compare weights and metrics with an uninterrupted run."""
    import dirac_keras.cli
    import dirac_keras.training  # noqa: F401
    import pipelines  # noqa: F401

    rng = random.Random(seed)
    console = Console(width=None if sys.stdout.isatty() else 240)
    rows = []
    with tempfile.TemporaryDirectory() as folder, small_disk(pathlib.Path(folder) / "disk", full_disk) as disk:
        folder = pathlib.Path(folder)
        trial = Trial(network, folder)
        console.print(f"{network}, {len(trial.rows)} epochs of {STEPS} steps, a checkpoint every {EVERY}; alone "
                      f"{trial.seconds:.1f} s", highlight=False)  # fmt: skip
        cases = [("kill -9", kill_nine)] * kills + [("SIGTERM", terminate)] * terminations
        cases += [("damaged", lambda *a, n=n: damage(*a, n)) for n in range(damaged)]
        if disk:
            cases += [("full disk", lambda *a, n=n: fill_disk(*a, n, disk)) for n in range(full_disk)]
        elif full_disk:
            console.print("full disk: not tried, mounting a small file system needs root")
        for number, (name, case) in enumerate(cases):
            rows.append({"case": name, **_try(case, trial, folder / f"{number}", rng)})
            console.print(f"{number + 1:>3} {name:9} {rows[-1]['result']}: {rows[-1]['line']}", highlight=False)
    console.print(
        table_of_cases("as the run left alone: weights, optimizer and metrics, bit for bit", rows, "the same")
    )
    longest = max((row["lost"] for row in rows if "lost" in row), default=0)
    console.print(f"most steps lost to a kill -9: {longest} of {EVERY}", highlight=False)
    if path:
        write_text(pathlib.Path(path), json.dumps(rows, indent=2) + "\n")
    sys.exit(any(row["result"] != "the same" for row in rows))


def _try(case, trial, workdir, rng):
    for attempt in range(20):  # a run may end before its moment comes
        folder = workdir.with_name(f"{workdir.name}-{attempt}")
        outcome = case(trial, folder, rng)
        shutil.rmtree(folder, ignore_errors=True)
        if outcome is not None:
            line, trouble, *lost = outcome
            return {"line": line, "result": trouble or "the same", **({"lost": lost[0]} if lost else {})}
    return {"line": "every run ended first", "result": "not tried"}


if __name__ == "__main__":
    main()
