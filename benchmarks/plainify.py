"""`python -m benchmarks.plainify`: residual networks made plain, and branches folded: how equal, at what cost."""

import collections
import datetime

import click
import keras
import numpy as np
from rich.console import Console

from benchmarks.command import Benchmark
from benchmarks.timing import time_in_turn
from dirac_keras import assert_plain, fold, plainify
from dirac_keras.files.keras_file import load_model
from dirac_keras.folding.inventory import layers_inside
from dirac_keras.graph.casting import to_float32
from dirac_keras.graph.samples import random_inputs
from dirac_keras.models import build_resnet
from dirac_keras.precision import dtype_policy
from dirac_keras.training.folder.directory import machine, versions


def _logits(name, side):
    """Without the softmax, in which a difference of large logits would look larger than it is."""
    return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classifier_activation=None)


APPLICATIONS = ("ResNet50", "ResNet101", "MobileNetV2", "ResNet50V2")
MODEL_SUFFIX = ".keras"
NETWORKS = {
    **{name: lambda side, name=name: _logits(name, side) for name in APPLICATIONS},
    "ResNet-20 (CIFAR)": lambda side: build_resnet(20),
}
BRANCHED = ("RepVGGA0", "MobileOneS0")  # of kimm
HEADINGS = (
    "network",
    "skips",
    "difference",
    "of fold alone",
    "parameters",
    "MACs",
    "peak of activations",
    "folded ms",
    "plain ms",
    "measured",
)
BRANCHED_HEADINGS = (
    "network",
    "kernels before",
    "after",
    "additions left",
    "difference",
    "in float64",
    "parameters",
    "MACs after",
    "measured",
)


@click.command(cls=Benchmark)
@click.argument("names", nargs=-1)
@click.option("--side", default=224, show_default=True, help="Pixels of an image's side, but for CIFAR's.")
@click.option("--rounds", default=9, show_default=True, help="Latencies of each network, of one image; 0: none.")
@click.option("--dense", is_flag=True, help="Without groups, as in the paper.")
@click.option("--kimm", "of_kimm", is_flag=True, help="Fold the branched networks of kimm instead (pip install kimm).")
@click.option("--seed", default=0, show_default=True)
def main(names, side, rounds, dense, of_kimm, seed):
    """Make NAMES (default: all) plain and print a row of a Markdown table for each.

    A name may be the file of a trained network, PATH.keras. The weights of the others are random, gammas and betas of
    BatchNormalization too, and its statistics those of random images, so that every layer's outputs have the size that
    they have in a trained network. "difference" is the largest one of logits relative to the largest, and "of fold
    alone" what merging BatchNormalization has of it; latencies are medians, folded and plain in turn.
    """
    known = BRANCHED if of_kimm else tuple(NETWORKS)
    files = () if of_kimm else tuple(name for name in names if name.endswith(MODEL_SUFFIX))
    if unknown := [name for name in names if name not in (*known, *files)]:
        more = "" if of_kimm else f", or a file {MODEL_SUFFIX}"
        raise click.UsageError(f"NAMES must be among {', '.join(known)}{more}. Received {unknown[0]!r}.")
    console = Console(width=10_000)
    head = f"{machine()}; {datetime.date.today()}; {versions()}; Keras on {keras.backend.backend()}; seed {seed}"
    console.print(head, highlight=False)
    headings = BRANCHED_HEADINGS if of_kimm else HEADINGS
    for row in (headings, ["---"] * len(headings)):
        console.print(f"| {' | '.join(row)} |", highlight=False, markup=False)
    for name in names or known:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        cells = branched_row(name, side, seed) if of_kimm else plain_row(name, side, rounds, not dense, seed)
        cells = [name, *cells, str(datetime.date.today())]
        console.print(f"| {' | '.join(cells)} |", highlight=False, markup=False)


def plain_row(name, side, rounds, grouped, seed):
    """The cells of a residual network's row behind its name."""
    is_file = name.endswith(MODEL_SUFFIX)
    model = to_float32(load_model(name)[0]) if is_file else settle(NETWORKS[name](side), seed)
    plain, certificate = plainify(model, grouped=grouped, rounds=0)
    folded, report = fold(model)
    latencies = ["-", "-"]
    if rounds:
        image = random_inputs(model, [(1, *model.input_shape[1:])], seed)
        alternatives = {
            "folded": lambda: folded.predict_on_batch(image),
            "plain": lambda: plain.predict_on_batch(image),
        }
        latencies = [f"{1000 * timing.median:.1f}" for timing in time_in_turn(alternatives, rounds, calls=1)]
    before, after = certificate.activations_before.bytes, certificate.activations_after.bytes
    return [
        str(len(certificate.skips)),
        f"{certificate.max_relative_difference:.1e}{f' ({certificate.note})' if certificate.note else ''}",
        f"{report.max_relative_difference:.1e}",
        _change(certificate.parameters_before, certificate.parameters_after, 1e6, "M"),
        _change(certificate.macs_before, certificate.macs_after, 1e6, "M"),
        _change(before, after, 2**20, "MiB", digits=2),
        *latencies,
    ]


def branched_row(name, side, seed):
    """The cells of a branched network's row behind its name."""
    try:
        import kimm
    except ImportError as error:
        raise click.UsageError("--kimm needs kimm, which is not installed: pip install kimm") from error
    build = getattr(kimm.models, name)
    model = settle(build(weights=None, input_shape=(side, side, 3), classifier_activation="linear"), seed)
    folded, report = fold(model)
    assert_plain(folded)
    with dtype_policy("float64"):  # where the rounding of so many layers is out of the way
        twin = build(weights=None, input_shape=(side, side, 3), classifier_activation="linear")
    twin.set_weights(model.get_weights())
    exact = fold(twin)[1].max_relative_difference
    kinds = collections.Counter(type(layer).__name__ for _, layer in layers_inside(folded))
    return [
        str(_kernels(model)),
        str(_kernels(folded)),
        str(kinds["Add"]),
        f"{report.max_relative_difference:.1e}{f' ({report.note})' if report.note else ''}",
        f"{exact:.1e}",
        _change(report.parameters_before, report.parameters_after, 1e6, "M"),
        f"{report.macs_after / 1e6:.1f} M",
    ]


def settle(model, seed):
    """Random gammas and betas, and the statistics of what random images make of the layers before."""
    random = np.random.default_rng(seed)
    normalizations = [layer for _, layer in layers_inside(model) if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.beta.assign(random.normal(0.0, 0.3, layer.beta.shape))
        if layer.gamma is not None:
            layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(random_inputs(model, [(4, *model.input_shape[1:])], seed), training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
    return model


def _kernels(model):
    return sum(hasattr(layer, "kernel") for _, layer in layers_inside(model))


def _change(before, after, unit, name, digits=1):
    if before is None or after is None:
        return "unknown"
    return f"{before / unit:.{digits}f} -> {after / unit:.{digits}f} {name} ({after / before:.2f}x)"


if __name__ == "__main__":
    main()
