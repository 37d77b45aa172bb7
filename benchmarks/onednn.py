"""`python -m benchmarks.onednn`: TensorFlow's convolutions by oneDNN against those by Eigen, on this processor.

The choice is made while TensorFlow is imported, so each side has a process of its own; they take turns.
"""

import datetime
import functools
import json
import os
import pathlib
import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

from benchmarks.command import Benchmark
from benchmarks.timing import time_in_turn
from dirac_keras.files.atomic import write_text

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
SIDES = {"oneDNN": "1", "Eigen": "0"}
DIRAC = {"family": "diracnet", "depth": 28}
DENSE = {"family": "plainnet", "depth": 100, "recipe": "plainnet"}
# Case -> whether it is a training step, fields of the config, shape of an image, images a batch.
CASES = {
    "training DiracNet-28-1": (True, DIRAC, (32, 32, 3), 128),
    "training 100 dense layers": (True, DENSE, (16, 16, 1), 128),
    "folded DiracNet-28-1, 128 images": (False, DIRAC, (32, 32, 3), 128),
    "folded DiracNet-28-1, one image": (False, DIRAC, (32, 32, 3), 1),
}


def make_case(name):
    """The function that does the work of a case once."""
    import types

    import numpy as np
    from keras import ops

    from dirac_keras import TrainConfig, fold
    from dirac_keras.training.building import compile_model, untrained_model

    trains, fields, shape, batch_size = CASES[name]
    config = TrainConfig(**fields)
    model = untrained_model(config, types.SimpleNamespace(image_shape=shape, num_classes=10), "float32")
    rng = np.random.default_rng(0)
    images = ops.convert_to_tensor(rng.normal(size=(batch_size, *shape)).astype("float32"))
    labels = ops.convert_to_tensor(rng.integers(0, 10, batch_size))
    if trains:
        compile_model(model, config, 1000)
        return lambda: model.train_on_batch(images, labels)
    folded, _ = fold(model, verify=False)
    folded.compile(jit_compile=False)
    return lambda: folded.predict_on_batch(images)


def work():
    """In a process of its own: for each name on standard input do its work once, then say so."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    made = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made.clear()  # one network in memory
            made[name] = make_case(name)
        made[name]()
        print("done", file=answers, flush=True)


class Side:
    """A process with TensorFlow on one of the `SIDES`, asked for one piece of work at a time."""

    def __init__(self, name):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from benchmarks.onednn import work; work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "KERAS_BACKEND": "tensorflow", VARIABLE: SIDES[name]},
        )

    def do(self, case):
        """Returns when the work of a case has been done once."""
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise SystemExit(
                f"{case} failed by {self.name}: {VARIABLE}={SIDES[self.name]} with benchmarks.onednn.make_case"
            )

    def end(self):
        self.process.stdin.close()
        self.process.wait()


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1, type=click.Choice(list(CASES)))
@click.option("--rounds", default=15, show_default=True, help="Values for each side.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too.")
def main(names, rounds, path):
    """Time a training step and folded inference with and without oneDNN; print medians and ratios round by round.

    float32, TensorFlow. A ratio below 1: oneDNN is faster.
    """
    from dirac_keras.training.folder.directory import machine, versions

    record = {"machine": machine(), "versions": versions(), "date": datetime.date.today().isoformat(), "cases": {}}
    table = Table(title=f"{record['machine']}; {record['date']}", title_justify="left", header_style="bold")
    for heading in ("", "oneDNN ms", "Eigen ms", "ratio", "its spread"):
        table.add_column(heading, justify="left" if not heading else "right")
    for case in names or CASES:
        sides = {name: Side(name) for name in SIDES}
        pieces = {name: functools.partial(side.do, case) for name, side in sides.items()}
        fast, other = time_in_turn(pieces, rounds)
        for side in sides.values():
            side.end()
        ratio, low, high = fast.ratio_to(other)
        table.add_row(
            case, f"{1e3 * fast.median:.1f}", f"{1e3 * other.median:.1f}", f"{ratio:.2f}", f"{low:.2f}-{high:.2f}"
        )
        record["cases"][case] = {
            "onednn_ms": 1e3 * fast.median,
            "eigen_ms": 1e3 * other.median,
            "ratio": ratio,
            "lowest": low,
            "highest": high,
        }
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if path:
        write_text(pathlib.Path(path), json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
