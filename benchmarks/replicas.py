"""`python -m benchmarks.replicas`: several devices and several processes against one, by what they compute."""

import contextlib
import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Benchmark

NETWORKS = {
    "DiracNet-10": ("--family=diracnet", "--depth=10", "--width=0.5"),
    "PlainNet-10, max-norm": ("--family=plainnet", "--depth=10", "--units=64", "--recipe=plainnet"),
    "VAN-10": ("--family=van", "--layout=conv", "--depth=10", "--width=0.5", "--recipe=van"),
}
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@click.command(cls=Benchmark)
@click.option("--data", default="cifar10", show_default=True)
@click.option("--data-dir", help="Folder of tensorflow-datasets.")
@click.option("--max-train", default=2000, show_default=True)
@click.option("--max-test", default=129, show_default=True, help="129: the last batch of 128 is one image.")
@click.option("--epochs", default=3, show_default=True)
@click.option("--batch-size", default=128, show_default=True, help="Of all replicas together.")
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--precision", default="float32", show_default=True)
@click.option("--network", "names", multiple=True, type=click.Choice(list(NETWORKS)), help="Default: all.")
@click.option("--against", multiple=True, type=click.Choice(["mirrored", "multiworker"]), help="Default: both.")
@click.option("--workdir", type=click.Path(), help="Keep the runs here. Default: nowhere.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too.")
def main(names, against, workdir, path, **options):
    """Train each network on one device, on two logical devices and in two processes; print how far they differ.

    The runs are those of `dirac-keras train`. "weights" is the largest absolute difference of any trained weight of the
    saved model from one device's; "statistics" that of any moving mean or variance, relative where it is above 1;
    "metrics" that of any epoch's loss and accuracy, in training and test;
    "between replicas" that of any weight or statistic from one replica to another; "after loading" that of the test
    loss and accuracy, as the run's replicas computed it, from the saved model's on one device.

    The learning rate is low on purpose. Sums over replicas are rounded in another order than one device's, and at the
    recipes' rates training amplifies that: so it does if one device's kernels are moved in their last bit.
    """
    table = Table(title=f"{options['data']}, {options['max_train']} images, {options['epochs']} epochs, batch "
                  f"{options['batch_size']}, {options['precision']}: differences from one device",
                  title_justify="left", header_style="bold")  # fmt: skip
    for heading in ("", "on", "weights", "statistics", "metrics", "between replicas", "after loading", "test accuracy"):
        table.add_column(heading, justify="left" if heading in ("", "on") else "right")
    record = []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(workdir or stack.enter_context(tempfile.TemporaryDirectory()))
        for name in names or NETWORKS:
            home = folder / name.split(",")[0]
            flags = [*NETWORKS[name], *(f"--{k.replace('_', '-')}={v}" for k, v in options.items() if v is not None)]
            one = run_one(home / "one", flags, ["--strategy=one"])
            for kind in against or ("mirrored", "multiworker"):
                if kind == "mirrored":
                    other = run_one(home / kind, flags, ["--strategy=mirrored", "--logical-devices=2"])
                else:
                    other = run_workers(home / kind, flags, 2)
                figures = compare(one, other)
                record.append({"network": name, "against": kind, **figures})
                shown = [
                    f"{figures[key]:.2g}"
                    for key in ("weights", "statistics", "metrics", "between_replicas", "after_loading")
                ]
                where = {"mirrored": "2 logical devices", "multiworker": "2 processes"}[kind]
                table.add_row(name, where, *shown, f"{figures['test_accuracy']:.4f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    if path:
        pathlib.Path(path).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def run_one(workdir, flags, strategy):
    """A run of `dirac-keras train` in its own process. Returns: its folder."""
    _finish([_start(workdir, flags, strategy)])
    return workdir


def run_workers(workdir, flags, count, **options):
    """The same in several processes of this machine. Returns: the folder of the first, which has the run."""
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
    _finish(
        [
            _start(_of_worker(workdir, index), flags, [f"--workers={workers}", f"--worker-index={index}"], **options)
            for index in range(count)
        ]
    )
    return _of_worker(workdir, 0)


def _of_worker(workdir, index):
    return workdir if index == 0 else workdir.with_name(f"{workdir.name}-worker{index}")


def _start(workdir, flags, strategy):
    return subprocess.Popen(
        [sys.executable, "-m", "dirac_keras.cli", "train", *flags, *strategy, f"--workdir={workdir}", "--no-export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )


def _finish(processes):
    """Wait for all; end all and raise if one fails."""
    try:
        for process in processes:
            output, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"{' '.join(process.args)} ended with {process.returncode}:\n{output}")
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()


def free_ports(count):
    """Ports of this machine that nobody listens to."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def compare(one, other):
    """How far the run in a folder is from that in another: dict of the largest absolute differences."""
    from dirac_keras.files.keras_file import load_model
    from pipelines import load_splits

    first, _ = load_model(one)
    second, _ = load_model(other)
    rows = zip(_rows(one), _rows(other), strict=True)
    summary = json.loads((other / "summary.json").read_text())
    config = json.loads((other / "config.json").read_text())
    names = ("batch_size", "seed", "max_train", "max_test", "data_dir")
    loaded = second.evaluate(
        load_splits(config["data"], **{name: config[name] for name in names}).test(), verbose=0, return_dict=True
    )
    return {
        "weights": max(_differences(first.trainable_weights, second.trainable_weights)),
        "statistics": max(_differences(first.non_trainable_weights, second.non_trainable_weights, relative=True)),
        "metrics": max(abs(float(a[name]) - float(b[name])) for a, b in rows for name in METRICS),
        "between_replicas": summary["replica_difference"],
        "after_loading": max(abs(loaded[name] - summary[f"test_{name}"]) for name in ("loss", "accuracy")),
        "replicas": summary["replicas"],
        "test_accuracy": summary["test_accuracy"],
    }


def _differences(weights, others, relative=False):
    for mine, theirs in zip(weights, others, strict=True):
        mine, theirs = np.asarray(mine, "float64"), np.asarray(theirs, "float64")
        yield float(np.max(np.abs(mine - theirs) / (np.maximum(1, np.abs(mine)) if relative else 1), initial=0))


def _rows(folder):
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
