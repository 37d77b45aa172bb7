"""`python -m benchmarks.backbones`: fold the networks of keras.applications and keras-hub, all weights random."""

import collections
import datetime
import pathlib
import re
import tempfile
import time

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.backbones_networks import networks, randomize
from benchmarks.command import Benchmark
from dirac_keras import fold
from dirac_keras.graph.samples import random_inputs
from dirac_keras.training.folder.directory import machine, versions

HEADINGS = (
    "network",
    "BatchNormalization before",
    "after",
    "what is left, and why",
    "shared",
    "loads",
    "difference",
    "seconds",
)


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1)
@click.option("--list", "is_list", is_flag=True, help="Print the names and stop.")
def main(names, is_list):
    """Fold NAMES (default: all) and print a row of a Markdown table for each.

    "difference" is the largest one relative to the largest output, "shared" the layers that stand in both models,
    "loads" whether the folded model is the same when it is saved and loaded, "seconds" the time of `fold` with its
    verification.
    """
    console = Console(width=10_000)
    found = networks()
    if is_list:
        console.print("\n".join(found), highlight=False)
        return
    unknown = [name for name in names if name not in found]
    if unknown:
        raise click.UsageError(f"NAMES must be among those of --list. Received {unknown[0]!r}.")
    date = datetime.date.today()
    console.print(f"{machine()}; {date}; {versions()}; Keras on {keras.backend.backend()}", highlight=False)
    for row in (HEADINGS, ["---"] * len(HEADINGS)):
        console.print(f"| {' | '.join(row)} |", highlight=False, markup=False)
    for name in names or found:
        console.print(f"| {' | '.join([name, *row_of(found[name])])} |", highlight=False, markup=False)


def row_of(build):
    """The cells of a network's row behind its name."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = randomize(build())
    started = time.perf_counter()
    folded, report = fold(model)
    seconds = time.perf_counter() - started
    loads = how_it_loads(folded)
    difference = report.max_relative_difference
    return [
        str(report.normalizations_before),
        str(report.normalizations_after),
        "; ".join(f"{count} {reason}" for reason, count in _reasons(report).most_common()),
        str(len(report.shared)),
        loads,
        report.note if difference is None else f"{difference:.1e}",
        f"{seconds:.1f}",
    ]


def how_it_loads(model):
    """ "yes" if a model that is saved and loaded gives the same outputs, or why it does not load.

    Raises: AssertionError: if the outputs differ.
    """
    shapes = [tuple(length or 64 for length in (2, *tensor.shape[1:])) for tensor in model.inputs]
    inputs = random_inputs(model, shapes)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        try:
            model.save(path)
            loaded = keras.models.load_model(path)
        except Exception as error:  # of whatever kind: the layers' own code runs here
            return "no: " + " ".join(str(error).split("Exception encountered: ")[-1].split())[:100]
    pairs = zip(keras.tree.flatten(model(inputs)), keras.tree.flatten(loaded(inputs)), strict=True)
    for expected, actual in pairs:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(expected), keras.ops.convert_to_numpy(actual))
    return "yes"


def _reasons(report):
    """How often each reason is given, layers' names aside."""
    return collections.Counter(re.sub(r"'[^']*' (?=\()|'[^']*'", "", entry.reason) for entry in report.kept)


if __name__ == "__main__":
    main()
