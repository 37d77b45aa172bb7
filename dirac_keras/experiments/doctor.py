"""The verdict at initialization against what training came to, on networks that train and networks that do not.

The thresholds of `diagnostics/verdict/thresholds.py` were chosen on the runs of `doctor-choosing`. Those of `doctor`
have other data, another width and other depths, and say how often the verdict holds (docs/doctor.md).
"""

import dataclasses
import json
import math

import numpy as np

from dirac_keras.diagnostics import Verdict, judge, measure
from dirac_keras.diagnostics.verdict import margin, signs
from dirac_keras.experiments.data import load
from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.report import errors, save
from dirac_keras.experiments.runs import Experiment, Run
from dirac_keras.files.atomic import write_text
from dirac_keras.files.keras_file import load_model
from dirac_keras.pages import COLOURS, legend, new_figure, style
from dirac_keras.training.start.beginning import at_first_step

DENSE = {"family": "plainnet", "layout": "dense", "recipe": "plainnet", "keep_checkpoints": 1}
DIRAC = {"family": "diracnet", "recipe": "quick", "precision": "float32", "width": 0.5, "keep_checkpoints": 1}
# About 700 steps each, in which a network that trains shows that it does.
CHOOSING = {"digits": {"epochs": 60}, "fashion_mnist": {"epochs": 18, "max_train": 5000, "max_test": 2000}}
HOLDING = {"usps": {"epochs": 15}, "coil20": {"epochs": 80}}
# Of the error of naming the most frequent class always, at most this much is left on the training images. In so few
# steps a network that learns at all shows that it does; how far it comes is a matter of the budget.
TRAINED = 0.85


def _dense(data, fields, units, scenario, depth, initializer="paper"):
    name = f"{data}-{units}-{depth}-{scenario}" + ("" if initializer == "paper" else f"-{initializer}")
    fields = {**DENSE, **fields, "data": data, "units": units, "scenario": scenario, "depth": depth}
    return Run(name, {**fields, "kernel_initializer": initializer}, title=name.replace("-", " "))


def _dirac(data, fields, depth, parameterization):
    fields = {**DIRAC, **fields, "data": data, "depth": depth, "parameterization": parameterization}
    return Run(f"{data}-{parameterization}-{depth}", fields, title=f"{data} convolutions {depth} {parameterization}")


def choosing_runs():
    """The networks that the thresholds were chosen on."""
    some = (
        *(("naive", depth) for depth in (5, 25, 50, 100)),
        *(("naive", depth, "glorot_uniform") for depth in (10, 25)),
        ("naive", 5, "random_uniform"),
        ("lrelu", 100),
        *(("bn", depth) for depth in (12, 35, 50, 100)),
        *(("bn+lrelu", depth) for depth in (50, 100)),
    )
    more = (
        *(("naive", depth) for depth in (12, 18, 35)),
        *(("naive", depth, "glorot_uniform") for depth in (5, 15)),
        *(("naive", depth, "random_uniform") for depth in (3, 10)),
        ("naive", 5, "random_normal"),
        *(("lrelu", depth) for depth in (25, 50)),
        *(("bn", depth) for depth in (5, 25, 70)),
        ("bn", 35, "random_normal"),
        *(("proposed", depth) for depth in (12, 50, 100)),
    )
    dirac = ((16, "dirac"), (40, "dirac"), (40, "plain"))
    runs = []
    for data, fields in CHOOSING.items():
        runs += [_dense(data, fields, 200, *network) for network in (some + more if data == "digits" else some)]
        runs += [_dirac(data, fields, *network) for network in (dirac if data == "digits" else dirac[:1])]
    return tuple(runs)


def holding_runs():
    """The networks that the verdict is held against."""
    runs = []
    for data, fields in HOLDING.items():
        dense = [
            *(("naive", depth) for depth in (5, 10, 20, 40, 100)),
            *(("naive", depth, "glorot_uniform") for depth in (5, 20, 50)),
            *(("naive", depth, "random_uniform") for depth in (5, 15)),
            *(("bn", depth) for depth in (5, 10, 20, 40, 60, 100)),
            *(("bn", depth, "glorot_uniform") for depth in (50,)),
            *(("proposed", depth) for depth in (5, 20, 40, 60, 100)),
        ]
        runs += [_dense(data, fields, 300, *network) for network in dense]
        runs += [_dirac(data, fields, *network) for network in ((10, "dirac"), (34, "dirac"), (34, "plain"))]
    return tuple(runs)


def at_start(directory, splits):
    """The `Diagnosis` of a run's network before its first step.

    Args:
        directory: `RunDirectory`.
        splits: `pipelines.Splits` of the run's data.
    """
    model = at_first_step(directory, splits, directory.record().precision_used)
    return measure(model, splits.train_in_order(512), ("activations", "spectrum", "gradients"), at_start=True)


def training_error(directory):
    """Share of the training images that the trained network gets wrong; 1 if the loss was no number."""
    return 1.0 if diverged(directory) else errors(directory)["train_error"] / 100


def verdict_table(experiment, results, folder):
    """Markdown lines: signs, verdict and outcome of each network, and the confusion matrix; a picture of both.

    The outcomes alone are written as JSON, name of the run -> whether it trained.
    """
    rows, loaded = [], {}
    for run, directory in results:
        arguments = directory.read_config().data_arguments()
        if arguments != loaded.get("arguments"):
            loaded = {"arguments": arguments, "splits": load(**arguments)}
        rows.append(judged(run, directory, loaded["splits"]))
    lines = [
        "| network | own share | relative gradient | growth | verdict at the start | training error | right |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = " | ".join("" if value is None else f"{value:.2g}" for value in row.signs.values())
        answer = "yes" if row.is_right else "**no**"
        lines.append(f"| {row.run.title} | {numbers} | {row.verdict.summary} | {row.error:.1%} | {answer} |")
    lines += ["", *_confusion("at the start", [(row.verdict, row.has_trained) for row in rows])]
    lines += ["", *_confusion("after training", [(row.verdict_after, row.has_trained) for row in rows])]
    outcomes = {row.run.name: bool(row.has_trained) for row in rows}
    write_text(folder / f"{experiment.name}.json", json.dumps(outcomes, indent=2) + "\n")
    path = save(_picture(rows), folder / f"{experiment.name}.png")
    return [*lines, "", f"picture: {path}"]


def _confusion(when, pairs):
    """Markdown lines of the confusion matrix of `(Verdict, has_trained)`."""
    lines = [f"| verdict {when} | trained | did not |", "|---|---|---|"]
    for said, words in ((True, "healthy"), (False, "not")):
        counts = [sum(verdict.will_train == said and trained == t for verdict, trained in pairs) for t in (True, False)]
        lines.append(f"| {words} | {counts[0]} | {counts[1]} |")
    right = sum(verdict.will_train == trained for verdict, trained in pairs)
    return [*lines, "", f"right {when}: {right} of {len(pairs)}, {right / len(pairs):.0%}"]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A run, the verdicts before its first step and after its last, and what came of it."""

    run: Run
    signs: dict
    margin: float
    verdict: Verdict
    verdict_after: Verdict
    error: float  # share of the training images
    has_trained: bool

    @property
    def is_right(self):
        return self.verdict.will_train == self.has_trained


def judged(run, directory, splits):
    """`Judged` of a finished run: `Run`, its `RunDirectory`, the `pipelines.Splits` of its data."""
    diagnosis = at_start(directory, splits)
    labels = np.concatenate([np.asarray(batch) for _, batch in splits.train_in_order()])
    chance = 1 - np.bincount(labels).max() / len(labels)
    error = training_error(directory)
    return Judged(
        run,
        signs(diagnosis),
        margin(diagnosis),
        judge(diagnosis),
        _after(directory, splits),
        error,
        error <= TRAINED * chance,
    )


def _after(directory, splits):
    if diverged(directory):
        return Verdict(False, "diverged", (), ())
    model, _ = load_model(directory.model)
    return judge(measure(model, splits.train_in_order(512), ("activations", "spectrum")))


@style()
def _picture(rows):
    figure, axis = new_figure(7.5, 4.6)
    for k, data in enumerate(dict.fromkeys(row.run.fields["data"] for row in rows)):
        points = [(_power(row.margin), 100 * row.error) for row in rows if row.run.fields["data"] == data]
        axis.scatter(*zip(*points, strict=True), s=22, color=COLOURS[k], label=data, alpha=0.8)
    axis.axvline(0, color="black", linestyle="--", linewidth=1)
    axis.set(
        xlabel="distance from the nearest threshold at the start, powers of ten",
        ylabel="training error at the end, %",
        title="The verdict at the start against what training came to",
        ylim=(-3, 112),  # room for the words
    )
    for side, text in (("right", "\u2190 said: will not train"), ("left", "said: will train \u2192")):
        place = (-6 if side == "right" else 6, 3)
        axis.annotate(text, (0, 1), place, axis.get_xaxis_transform(), "offset points", ha=side, va="top", size="small")
    legend(figure, least=1)
    return figure


def _power(factor):
    """Of ten, kept within the picture."""
    return max(-6.0, min(6.0, math.log10(factor))) if factor > 0 else -6.0


EXPERIMENTS = {
    "doctor-choosing": Experiment(
        "doctor-choosing",
        "Verdict at the start and outcome, networks that the thresholds were chosen on",
        "Not in the paper",
        choosing_runs(),
        verdict_table,
        looks_into=True,
        seeds=1,
        full_seeds=1,
    ),
    "doctor": Experiment(
        "doctor",
        "Verdict at the start and outcome, other networks",
        "Not in the paper",
        holding_runs(),
        verdict_table,
        looks_into=True,
        seeds=1,
        full_seeds=1,
    ),
}
