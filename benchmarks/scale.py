"""`python -m benchmarks scale`: what 8, 64 and 512 chips would do, from what one does; docs/scale.md explains it."""

import dataclasses
import datetime
import json
import math
import pathlib
import tempfile
import time

import click
import keras

from benchmarks import scale_model
from benchmarks.command import ABOVE_ZERO, Benchmark
from dirac_keras.cli.speech.json_option import without_nonfinite
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.training.folder.directory import machine, versions

# Measured on one H100 80 GB, Keras 3.15.1 on JAX 0.11.2, bfloat16, CIFAR's shapes, batch 128, 2026-11-27: seconds of a
# step of 50 that are compiled together, the data on the device.
MEASURED = {"DiracNet-28-1": 2.41e-3, "DiracNet-28-10": 12.9e-3}
MEASURED_BATCH = 128
SETS = {
    "imagenet": scale_model.Data("ImageNet", 1_281_167, 147_897_477_120 / 1_281_167, 8192),
    "billion": scale_model.Data("a billion images", 10**9, 147_897_477_120 / 1_281_167, 65_536),
}
NETWORKS = ("DiracNet-18", "DiracNet-34", "VAN-34")
REMEDIES = {
    "small batches": "fewer chips; a larger batch, if the accuracy bears it",
    "gradients": "let XLA sum them during the backward pass (`overlap`); send them as bfloat16",
    "statistics": "statistics over the chips of one node; larger batches of a chip",
    "input": "more cores or data services; images stored at the size of training; faster storage",
    "checkpoints and failures": "write in the background; faster restarts; spare chips",
}
FIELDS = {field.name: field for field in dataclasses.fields(scale_model.Cluster)}


@click.command(cls=Benchmark)
@click.option("--network", "names", multiple=True, type=click.Choice(NETWORKS), help="Default: all.")
@click.option("--data", "sets", multiple=True, type=click.Choice(list(SETS)), help="Default: both.")
@click.option("--chips", default="1,8,64,512", show_default=True, help="Numbers of chips.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True,
    help="Of a chip, while all together are not too large.",
)  # fmt: skip
@click.option(
    "--step-ms",
    type=ABOVE_ZERO,
    help="Measured step of one chip at this batch size, of one --network. Default: by two steps of an H100.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=NUMBER",
    help=f"Another number of the cluster: {', '.join(FIELDS)}.",
)
@click.option("--measure-input", is_flag=True, help="Time our reader on this machine for decode_rate.")
@click.option("--measure-checkpoint", is_flag=True, help="Time our writer on this machine for write_bytes.")
@click.option("--check", is_flag=True, help="Time 1, 2 and 4 devices and 2 processes of this machine too.")
@click.option("--json", "path", type=click.Path(), help="Write the figures here too.")
def main(names, sets, chips, batch_size, step_ms, settings, measure_input, measure_checkpoint, check, path):
    """Predict training on many chips: step, efficiency, input, checkpoints, and what breaks first.

    Prints tables in Markdown. Example: python -m benchmarks scale --network DiracNet-34 --set cores=64
    """
    counts = chips.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in counts):
        raise click.BadParameter(f"must be whole numbers of 1 or more, separated by commas. Received {chips!r}.",
                                 param_hint="--chips")  # fmt: skip
    chips, settings = [int(part) for part in counts], parse_settings(settings)
    names = names or NETWORKS
    if step_ms is not None and len(names) != 1:
        raise click.UsageError("--step-ms is of one network. Give one --network.")
    cluster = default_cluster()
    if measure_input:
        cluster = dataclasses.replace(cluster, decode_rate=decode_rate())
    if measure_checkpoint:
        cluster = dataclasses.replace(cluster, write_bytes=write_rate())
    cluster = dataclasses.replace(cluster, **settings)
    networks = [network_of(name) for name in names]
    if step_ms is not None:
        cluster = with_step(cluster, networks[0], batch_size, step_ms / 1e3)
    found = [
        scale_model.predict(network, SETS[name], count, batch_size, cluster)
        for network in networks
        for name in sets or SETS
        for count in chips
    ]
    record = {
        "date": datetime.date.today().isoformat(), "machine": machine(), "versions": versions(),
        "cluster": dataclasses.asdict(cluster), "networks": [dataclasses.asdict(network) for network in networks],
        "predictions": [dataclasses.asdict(one) | {"breaks_first": one.breaks_first} for one in found],
    }  # fmt: skip
    click.echo(f"{record['machine']}; {record['date']}; Keras {keras.__version__} on {keras.backend.backend()}\n")
    for line in [*cluster_lines(cluster), "", *network_lines(networks), "", *prediction_lines(found), ""]:
        click.echo(line)
    for line in remedy_lines(found):
        click.echo(line)
    if check:
        rows = checked()
        record["checked"] = rows
        click.echo("")
        for line in check_lines(rows):
            click.echo(line)
    if path:
        write_text(pathlib.Path(path), json.dumps(without_nonfinite(record), indent=2) + "\n")


def default_cluster():
    """A `Cluster` with the chip that `MEASURED` was timed on; its other numbers are assumptions, see docs/scale.md."""
    from dirac_keras.models import build_diracnet

    timed = []
    for width in (1, 10):
        with keras.StatelessScope(initialize_variables=False):
            network = describe(f"DiracNet-28-{width}", build_diracnet(depth=28, width=width, num_classes=10))
        timed.append((network, MEASURED[network.name]))
    memory_bytes = FIELDS["memory_bytes"].default
    return scale_model.Cluster(*scale_model.fit_chip(*timed, MEASURED_BATCH, memory_bytes))


def with_step(cluster, network, batch, seconds):
    """A cluster whose chip takes so long for a step of a network: its layers as before, its rate from what is left."""
    infinite = dataclasses.replace(cluster, flops_per_second=math.inf)
    least = 1e3 * scale_model.compute_seconds(network, batch, infinite)
    left = seconds - least / 1e3
    if left <= 0:
        raise click.UsageError(f"--step-ms must be above {least:.3g}, what {network.layers} layers take by themselves. "
                               f"Received {1e3 * seconds:.3g}; lower it by --set layer_seconds=NUMBER.")  # fmt: skip
    return dataclasses.replace(cluster, flops_per_second=batch * network.flops / left)


def parse_settings(settings):
    """`{"cores": 64}` of `["cores=64"]`."""
    values = {}
    for text in settings:
        name, _, number = text.partition("=")
        if name not in FIELDS:
            raise click.BadParameter(f"must name one of {', '.join(FIELDS)}. Received {text!r}.", param_hint="--set")
        whole = FIELDS[name].type is int
        try:
            value = int(number) if whole else float(number)
        except ValueError:
            value = -1
        if not 0 <= value < 1e30 or (name == "overlap" and value > 1) or (not value and name not in MAY_BE_ZERO):
            rule = f"a {'whole ' if whole else ''}number {'of 0 or more' if name in MAY_BE_ZERO else 'above 0'}"
            raise click.BadParameter(f"{name} must be {rule}{', at most 1' if name == 'overlap' else ''}. "
                                     f"Received {text!r}.", param_hint="--set")  # fmt: skip
        values[name] = value
    return values


MAY_BE_ZERO = ("overlap", "layer_seconds", "link_latency", "network_latency", "restart_seconds",
               "sums_per_normalization")  # fmt: skip


def network_of(name):
    """The `Network` of one of `NETWORKS` at ImageNet's shapes, counted in the model itself."""
    from dirac_keras.models import build_diracnet, build_van

    depth = int(name.rpartition("-")[2])
    shape = {"num_classes": 1000, "input_shape": (224, 224, 3)}
    with keras.StatelessScope(initialize_variables=False):  # shapes alone: values would take a minute
        if name.startswith("DiracNet"):
            model = build_diracnet(depth=depth, layout="imagenet", **shape)
        else:
            model = build_van(layout="conv", depth=depth, **shape)
        return describe(name, model)


def describe(name, model):
    """The `Network` of a model."""
    from dirac_keras.graph.costs import count_costs

    trainable, others = (
        sum(math.prod(weight.shape) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    macs = count_costs(model)
    if macs.uncounted:
        raise UserError(f"{name} has layers whose operations are not counted: {', '.join(macs.uncounted)}.")
    normalizations = [
        int(layer.moving_mean.shape[0]) for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    return scale_model.Network(
        name=name,
        layers=len(macs.macs),
        flops=6.0 * macs.total,
        activations=sum(math.prod(model.get_layer(layer).output.shape[1:]) for layer in macs.macs),
        gradient_bytes=4 * trainable,
        checkpoint_bytes=4 * (2 * trainable + others),
        statistics=tuple(normalizations),
    )


def decode_rate(images=96, seconds=8.0):
    """Images a second and core of this machine: our reader's training stream of photographs of ImageNet's size."""
    import numpy as np
    from PIL import Image

    from dirac_keras.training.stepping.threads import cores
    from pipelines import load_splits

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(images):
            place = pathlib.Path(folder) / ("train" if index % 4 else "val") / f"class{index // 4 % 2}"
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (94, 125, 3), dtype="uint8"))
            coarse.resize((500, 375), Image.BICUBIC).save(place / f"{index}.jpg", quality=90)
        splits = load_splits(f"folder:{folder}", batch_size=32, augmentation="imagenet", image_size=224)
        stream = iter(splits.train())
        next(stream)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            next(stream)
            count += 32
        return count / (time.perf_counter() - start) / cores()


def write_rate():
    """Bytes a second of a checkpoint as a run writes it, checksum included: a DiracNet-34 with its momentum."""
    from dirac_keras.files.keras_file import save_model
    from dirac_keras.models import build_diracnet

    model = build_diracnet(depth=34, layout="imagenet", num_classes=1000, input_shape=(224, 224, 3))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "checkpoint.keras"
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            save_model(model, path, overwrite=True, checksum=True)
            seconds.append(time.perf_counter() - start)
        return path.stat().st_size / sorted(seconds)[1]


def checked():
    """Prediction and measurement on devices and processes of this machine: rows."""
    from benchmarks.scale_measured import BATCH, NETWORK, measured

    one = measured(1, 1)
    rows = [
        {"devices": 1, "processes": 1, "measured": one["step"], "predicted": one["step"], "batch": BATCH, **NETWORK}
    ]
    for devices, processes in ((2, 1), (4, 1), (2, 2)):
        found = measured(devices, processes)
        added = sums_seconds(found)
        rows.append({**found, "measured": found["step"], "predicted": one["step"] + added, "sums_seconds": added})
    return rows


def sums_seconds(found):
    """What the sums of a step take, as timed on their own: the gradients', and those of statistics one by one."""
    latency, bandwidth = scale_model.fit_line(*zip(*found["sums"], strict=True))
    return found["operations"] * latency + found["bytes"] / bandwidth


def cluster_lines(cluster):
    """A table of what the predictions rest on."""
    yield from ("| number | value |", "|---|---|")
    for name, value in dataclasses.asdict(cluster).items():
        yield f"| `{name}` | {value:.3g} |" if isinstance(value, float) else f"| `{name}` | {value} |"


def network_lines(networks):
    """A table of what was counted in the networks."""
    yield (
        "| network | layers | GFLOP a step and image | activations, million | MB of gradients | MB of a checkpoint | "
        "BatchNormalizations |"
    )
    yield "|---|---|---|---|---|---|---|"
    for one in networks:
        yield (
            f"| {one.name} | {one.layers} | {one.flops / 1e9:.1f} | {one.activations / 1e6:.1f} | "
            f"{one.gradient_bytes / 1e6:.1f} | {one.checkpoint_bytes / 1e6:.1f} | {len(one.statistics)} |"
        )


def prediction_lines(found):
    """The table of predictions."""
    yield (
        "| network | data | chips | batch of a chip | step ms | gradients ms | statistics ms | input ms | images/s | "
        "efficiency | GB/s of files | cores a chip | checkpoint s, every | epoch | breaks first |"
    )
    yield "|---" * 15 + "|"
    for one in found:
        first = "nothing" if one.breaks_first is None else f"{one.breaks_first[0]}, {one.breaks_first[1]:.0%}"
        yield (
            f"| {one.network} | {one.data} | {one.chips} | {one.batch} | {1e3 * one.step:.1f} | "
            f"{1e3 * one.gradients:.2f} | {1e3 * one.statistics:.2f} | {1e3 * one.input:.1f} | "
            f"{one.images_per_second:,.0f} | {one.efficiency:.0%} | {one.input_bytes / 1e9:.2f} | "
            f"{one.cores_per_chip:.1f} | {one.checkpoint:.2f}, {_duration(one.interval)} | {_duration(one.epoch)} | "
            f"{first} |"
        )


def _duration(seconds):
    if math.isinf(seconds):  # of an epoch, where failures come quicker than steps
        return "never"
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s"


def remedy_lines(found):
    """What to do about each of the causes that break first."""
    causes = {one.breaks_first[0] for one in found if one.breaks_first}
    for cause, remedy in REMEDIES.items():
        if cause in causes:
            yield f"- {cause}: {remedy}"


def check_lines(rows):
    """The table of what was measured here beside what the formulas say."""
    network = "-".join(str(rows[0][name]) for name in ("family", "depth", "width"))
    yield f"{network}, {rows[0]['batch']} images of 32 pixels in a step, float32:"
    yield ""
    yield "| devices | processes | step ms | predicted ms | of it sums | sums of a step | their MB |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        sums = (
            f"{1e3 * row['sums_seconds']:.1f} | {row['operations']} | {row['bytes'] / 1e6:.2f}"
            if "sums_seconds" in row
            else "0 | 0 | 0"
        )
        yield (
            f"| {row['devices']} | {row['processes']} | {1e3 * row['measured']:.1f} | {1e3 * row['predicted']:.1f} | "
            f"{sums} |"
        )


if __name__ == "__main__":
    main()
