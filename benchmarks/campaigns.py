"""`python -m benchmarks.campaigns`: bad command lines, damaged files of a run, flipped bits of zip headers, and counts.

Everything runs through the program's entry point in this process. What is expected: an error is one message on standard
error and status 1 or 2, without a traceback, and leaves no file; what does not end in an error has the right result.
Kills, full disks and signals are in `benchmarks.survival`.
"""

import collections
import contextlib
import io
import itertools
import json
import logging
import os
import pathlib
import random
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass

import click
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from dirac_keras import cli

SMALL = ["--data=digits", "--family=plainnet", "--depth=2", "--units=4", "--max-train=128", "--max-test=32"]
SMALL += ["--epochs=2", "--precision=float32", "--no-export"]
# What each command needs beside the option that is tried.
BASES = {
    "train": ["train", *SMALL, "--workdir=W"],
    "tune": ["tune", "--data=digits", "--family=plainnet", "--depth=2", "--units=4", "--max-train=128", "--workdir=W"],
    "evaluate": ["evaluate", "absent.keras"],
    "predict": ["predict", "absent.keras", "absent.png"],
    "diagnose": ["diagnose", "absent.keras"],
    "fold": ["fold", "absent.keras"],
    "export": ["export", "absent.keras"],
    "info": ["info", "absent.keras"],
    "reproduce": ["reproduce", "plainnets", "--list"],
    "data-service": ["data-service", "--dispatcher=grpc://absent:1"],
    "find-lr": ["find-lr", *SMALL],
    "explain": ["explain", "absent.keras", "absent.png"],
    "plainify": ["plainify", "absent.keras"],
    "prune": ["prune", "absent.keras", "--data=digits"],
    "import": ["import", "absent.safetensors", "--as=resnet18"],
    "benchmark": ["benchmark", "absent.onnx", "--data=digits"],
    "data check": ["data", "check", "absent"],
    "data show": ["data", "show", "absent"],
    "runs": ["runs", "absent"],
    "runs prune": ["runs", "prune", "absent"],
    "completion": ["completion", "absent"],
}
HUGE = "9" * 400
NO_NUMBERS = ("", "x", "nan", "1e", "--", "0x10", "1,2;3")


@dataclass(frozen=True)
class Ended:
    """How a call of the program ended."""

    status: object
    out: str
    err: str

    @property
    def trouble(self):
        """What is wrong with the way an error was told; empty if nothing is."""
        if self.status not in (0, 1, 2):
            return f"status {self.status}"
        if "Traceback" in self.out + self.err or "this is a fault" in self.err:
            return "a traceback, or a fault"
        if self.status and self.err.count("Error:") + self.err.count("─ Error ─") != 1:
            return f"{self.err.count('Error:')} error messages"
        return ""


def call(*arguments):
    """Run the program in this process."""
    argv, out, err = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["dirac-keras", *map(str, arguments)]
    status = 0
    handlers = logging.getLogger().handlers[:]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException as error:
        status = f"{type(error).__name__}: {error}"
    finally:
        sys.argv = argv
        logging.getLogger().handlers[:] = handlers
    return Ended(status, out.getvalue(), err.getvalue())


def bad_command_lines():
    """Command lines that are wrong in one option each, from the options' own types."""
    lines = [
        [],
        ["trian"],
        ["--nonsense"],
        ["train", "--nonsense"],
        ["evaluate"],
        ["predict", "x.keras"],
        ["reproduce"],
    ]
    lines += [["reproduce", "nobody"], ["info"], ["info", "a", "b"], ["fold", "a", "b"], ["tune", "extra"]]
    for name, base in BASES.items():
        command = _command(name)
        lines += [[*base, "--nonsense"], [*base, "--workdi"], [*base, "surplus"]]
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "debug":
                lines += [[*base, *words] for words in _wrong(option)]
    return [line for line in lines if line]


def _command(name):
    """The command of a key of `BASES`."""
    first, *rest = name.split()
    command = cli.commands.load(first)
    for word in rest:
        command = command.load(word)
    return command


def _wrong(option):
    flag = max(option.opts, key=len)
    if option.is_flag:
        return [[f"{flag}=5"]]
    if isinstance(option.flag_value, str):  # without a value it is right
        return [[f"{flag}={text}"] for text in ("", "nonsense", "absent.txt")]
    kind = option.type
    if isinstance(kind, click.Choice):
        return [[flag, text] for text in ("nonsense", "", "0", kind.choices[0] + "x")] + [[flag]]
    if isinstance(kind, (click.IntRange, click.types.IntParamType)):
        below = getattr(kind, "min", None)
        numbers = () if below is None else (str(below - 1), "-" + HUGE)
        return [[flag, text] for text in (*NO_NUMBERS, "1.5", HUGE, *numbers)] + [[flag]]
    if isinstance(kind, (click.FloatRange, click.types.FloatParamType)):
        return [[flag, text] for text in ("", "x", "nan", "inf", "-inf", "-1", HUGE, "1e400", "--")] + [[flag]]
    return [[flag]]


def try_command_lines(folder, limit=None, rng=None):
    """Run bad command lines in an empty folder. Returns: list of `(line, outcome, Ended)`; outcome is empty if good."""
    lines = bad_command_lines()
    if limit is not None:
        lines = rng.sample(lines, limit)
    rows = []
    for number, line in enumerate(lines):
        where = folder / str(number)
        where.mkdir()
        with contextlib.chdir(where):
            ended = call(*line)
        left = sorted(path.relative_to(where).as_posix() for path in where.rglob("*"))
        outcome = ended.trouble or ("accepted" if ended.status == 0 else "") or (f"left {left[:3]}" if left else "")
        rows.append((" ".join(line), outcome, ended))
        shutil.rmtree(where)
    return rows


TABLES = ("epoch,loss\n1,2,3\n", "epoch\nx\n", 'a,"b\n', "\n\n\n", "epoch,epoch\n1,1\n", "loss\nnan\n")
JSON_VALUES = (None, [], {}, "text", -1, 1e308, True, [[[]]], "\x1b[31m")


def damages(path, others, rng):
    """`(name, function of a path)` of ways to damage one file of a run."""
    size = path.stat().st_size
    found = [
        ("emptied", lambda p: p.write_bytes(b"")),
        ("cut in half", lambda p: os.truncate(p, size // 2)),
        ("last byte cut", lambda p: os.truncate(p, max(size - 1, 0))),
        ("zeros", lambda p: p.write_bytes(b"\0" * size)),
        ("no UTF-8", lambda p: p.write_bytes(b"\xff\xfe" + p.read_bytes())),
        ("gone", lambda p: p.unlink()),
        ("a folder", lambda p: (p.unlink(), p.mkdir())),
        ("a link to itself", lambda p: (p.unlink(), p.symlink_to(p))),
    ]
    for position in [rng.randrange(size) for _ in range(8)] if size else []:
        found.append((f"bit flipped at {position}", lambda p, at=position: _flip(p, at, 1 << rng.randrange(8))))
    found += [(f"swapped for {other.name}", lambda p, o=other: shutil.copy(o, p)) for other in others if other != path]
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        found += [(f"JSON {value!r}", lambda p, v=value: p.write_text(json.dumps(v))) for value in JSON_VALUES]
        for name in record:
            value = rng.choice(JSON_VALUES)
            found.append((f"{name} = {value!r}", lambda p, n=name, v=value: p.write_text(json.dumps({**record, n: v}))))
    if path.suffix == ".csv":
        found += [(f"text {text!r}", lambda p, t=text: p.write_text(t)) for text in TABLES]
    return found


def _flip(path, position, mask=1):
    content = bytearray(path.read_bytes())
    content[position] ^= mask
    path.write_bytes(content)


def make_runs(folder):
    """Folders of a finished run, of the same run killed in its second epoch, and of a run of another seed."""
    from dirac_keras.training.folder.checkpoints import Checkpoint

    finished, begun, other = folder / "finished", folder / "begun", folder / "other"
    line = ["train", *SMALL, "--keep-checkpoints=3"]
    for workdir, options in ((finished, []), (other, ["--seed=1"])):
        ended = call(*line, *options, f"--workdir={workdir}")
        if ended.status:
            raise RuntimeError(ended.err)
    save, count = Checkpoint.on_epoch_end, itertools.count(1)

    def stop(self, epoch, logs=None):
        if next(count) == 2:
            raise MemoryError("the campaign's")
        save(self, epoch, logs)

    Checkpoint.on_epoch_end = stop
    try:
        call(*line, f"--workdir={begun}")
    finally:
        Checkpoint.on_epoch_end = save
    return finished, begun, other


def weights_of(path):
    from dirac_keras.files.keras_file import load_model

    return load_model(path)[0].get_weights()


def try_damaged_files(folder, limit=None, rng=None):
    """Damage files of a run and resume or read it. Returns: as `try_command_lines`."""
    finished, begun, other = make_runs(folder)
    expected = weights_of(finished)
    rows_expected = _rows(finished / "metrics.csv")
    cases = []
    for run in (finished, begun):
        files = sorted(path for path in run.rglob("*") if path.is_file() and path.suffix in (".json", ".csv", ".keras"))
        foreign = sorted(path for path in other.rglob("*.keras"))
        for path in files:
            others = [*files[:2], *(one for one in foreign if one.name == path.name)]
            cases += [(run, path.relative_to(run), *damage) for damage in damages(path, others, rng)]
    if limit is not None:
        cases = rng.sample(cases, min(limit, len(cases)))
    rows = []
    for number, (run, name, what, harm) in enumerate(cases):
        copy = folder / f"copy{number}"
        shutil.copytree(run, copy)
        harm(copy / name)
        ended = call("train", *SMALL, "--keep-checkpoints=3", f"--workdir={copy}")
        outcome = ended.trouble
        if not outcome and ended.status == 0:
            same = all(map(np.array_equal, weights_of(copy), expected))
            outcome = "" if same else "other weights"
            if not outcome and _rows(copy / "metrics.csv") != rows_expected:
                outcome = "other metrics"
        rows.append((f"{run.name}/{name}: {what}", outcome, ended))
        shutil.rmtree(copy, ignore_errors=True)
    return rows


def _rows(path):
    from benchmarks.survival import CLOCK
    from dirac_keras.files.tables import read_table

    return [{name: value for name, value in row.items() if name not in CLOCK} for row in read_table(path)]


def header_bits(content):
    """Positions of the bits of a zip file's headers: local ones, the directory, its end."""
    places = []
    for signature, length in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)):
        start = content.find(signature)
        while start >= 0:
            places += range(start, min(start + length, len(content)))
            start = content.find(signature, start + 1)
    return [(place, bit) for place in places for bit in range(8)]


def try_header_bits(folder, limit, rng):
    """Flip bits of a model's zip headers and evaluate what is read. Returns: as `try_command_lines`."""
    from dirac_keras.errors import UserError

    finished = make_runs(folder)[0] if not (folder / "finished").exists() else folder / "finished"
    path, expected = folder / "flipped.keras", weights_of(finished / "model.keras")
    unsigned = folder / "unsigned.keras"  # as Keras itself would write it, without a checksum of the whole
    shutil.copy(finished / "model.keras", unsigned)
    with zipfile.ZipFile(unsigned, "a") as archive:
        archive.comment = b""
    rows = []
    bits = header_bits(unsigned.read_bytes())
    for number, (place, bit) in enumerate(rng.sample(bits, min(limit, len(bits)))):
        shutil.copy(unsigned if number % 4 else finished / "model.keras", path)
        _flip(path, place, 1 << bit)
        try:
            outcome = "" if all(map(np.array_equal, weights_of(path), expected)) else "other weights"
            ended = Ended(0, "", "")
        except UserError as error:
            outcome, ended = "" if path.name in str(error) else "the file is not named", Ended(1, "", str(error))
        except Exception as error:
            outcome, ended = f"{type(error).__name__}: {error}", Ended(70, "", str(error))
        rows.append((f"bit {bit} of byte {place}", outcome, ended))
    return rows


CAMPAIGNS = {"lines": try_command_lines, "files": try_damaged_files, "bits": try_header_bits}


def _short(text):
    """The end of a text in one line, without long numbers."""
    return " ".join(text.split()).replace(HUGE, "9...9")[-150:]


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1, type=click.Choice(list(CAMPAIGNS)))
@click.option("--limit", type=click.IntRange(min=1), help="Cases of each, drawn at random. Default: all; 500 bits.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "path", type=click.Path(), help="Write the cases here too.")
def main(names, limit, seed, path):
    """Run NAMES (default: all) and print counts, and every case that did not end as it should."""
    console = Console(width=240)
    record, bad = {}, 0
    for name in names or CAMPAIGNS:
        with tempfile.TemporaryDirectory() as folder:
            count = limit or (500 if name == "bits" else None)
            rows = CAMPAIGNS[name](pathlib.Path(folder), count, random.Random(seed))
        counts = collections.Counter(ended.status for _, _, ended in rows)
        failed = [(case, outcome, ended) for case, outcome, ended in rows if outcome]
        bad += len(failed)
        by_status = ", ".join(f"{number} of status {status}" for status, number in counts.items())
        console.print(f"{name}: {len(rows)} cases, {by_status}; {len(failed)} not as expected", highlight=False)
        for case, outcome, ended in failed:
            line = f"  {_short(case)!r}: {outcome}: {_short(ended.err)!r}"
            console.print(line, markup=False, highlight=False)
        record[name] = [
            {"case": case, "outcome": outcome, "status": ended.status, "line": ended.err}
            for case, outcome, ended in rows
        ]
    if path:
        pathlib.Path(path).write_text(json.dumps(record, indent=2), encoding="utf-8", errors="backslashreplace")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
