"""Pictures and tables of what trained networks hold: activations, responses and weights by layer."""

import numpy as np

from dirac_keras.diagnostics import CURVES, collect_responses, measure, plot_depth, plot_responses
from dirac_keras.experiments.data import splits_of_run
from dirac_keras.experiments.plainnets.networks import TITLES
from dirac_keras.experiments.report import one_each
from dirac_keras.files.keras_file import load_model
from dirac_keras.training.start.beginning import at_first_step

ALL_IMAGES = 10**6  # more than any of the data sets has
# Section A2: training is hard where many units are below 0.05; the proposed network's are all between it and 50.
THRESHOLDS = (0.05, 0.5, 5.0, 50.0)
HARDLY_MOVED = 0.01  # relative distance of a layer's weights from their start


def depth_pictures(*quantities):
    """A report: each quantity over the layers of the trained networks, a picture for each data set."""

    def report(experiment, results, folder):
        lines = []
        for data, diagnoses in _diagnoses(results, ("activations", "weights")).items():
            for quantity in quantities:
                path = folder / f"{experiment.name}-{data}-{quantity}.png"
                plot_depth(diagnoses, quantity, path, title=f"{data}: {CURVES[quantity].label} by layer")
                lines.append(f"picture: {path}")
        return lines

    return report


def response_pictures(*layers):
    """A report: the responses of layers' units over all training images, a picture for each network and layer."""

    def report(experiment, results, folder):
        lines = []
        for run, _, model, splits in trained(results):
            names = dict.fromkeys(f"dense{min(layer, run.fields['depth'])}" for layer in layers)
            for responses in collect_responses(model, splits.train_in_order(), list(names), max_samples=ALL_IMAGES):
                path = folder / f"{experiment.name}-{run.network or run.name}-{responses.layer}.png"
                plot_responses(responses, path, f"{run.title}: responses of {responses.layer}")
                lines += [f"{run.title}, {responses.layer}, {responses.matrix.shape[1]} images.", f"picture: {path}"]
        return lines

    return report


def threshold_report(layer):
    """A report: the share of units above several thresholds over the layers, and a table of one layer."""

    def report(experiment, results, folder):
        lines, rows = [], []
        for data, diagnoses in _diagnoses(results, ("activations",), THRESHOLDS).items():
            for name, diagnosis in diagnoses.items():
                path = folder / f"{experiment.name}-{data}-{name.split(':')[0].replace(' ', '-')}.png"
                plot_depth(
                    diagnosis, "units_above", path, title=f"{data}, {name}: % of units above a threshold by layer"
                )
                lines.append(f"picture: {path}")
                hidden = [one for one in diagnosis.layers if not one.is_output]
                rows.append((data, name, hidden[min(layer, len(hidden)) - 1]))
        return [*_threshold_table(rows), "", *lines]

    return report


def _threshold_table(rows):
    """Markdown lines: of one layer, the share of units whose mean response, and of responses, above a threshold."""
    heads = " | ".join(f"> {threshold:g}" for threshold in THRESHOLDS)
    lines = [f"| network | layer | units: {heads} | responses: {heads} |", "|---" * (2 + 2 * len(THRESHOLDS)) + "|"]
    for data, name, layer in rows:
        shares = [getattr(layer.activations, what)[t] for what in ("units_above", "share_above") for t in THRESHOLDS]
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        lines.append(f"| {data}, {name} | {layer.name} | {cells} |")
    return lines


def distance_report(experiment, results, folder):
    """A report: how far the weights of each layer have come from their start, over the layers and in a table.

    The paper: the proposed network's weights "have been reasonably updated, as against the naive PlainNet where weights
    were mostly not updated" (section VI.C).
    """
    found, lines = {}, ["| network | median | lowest | highest | layers below 1 % |", "|---|---|---|---|---|"]
    for run, directory, model, splits in trained(results):
        start = at_first_step(directory, splits, directory.record().precision_used).get_weights()
        diagnosis = measure(model, None, quantities=("weights",), initial_weights=start)
        name = TITLES[run.fields["scenario"]]
        found.setdefault(run.fields["data"], {})[name] = diagnosis
        distances = [one.weights.relative_distance for one in diagnosis.layers if not one.is_output]
        below = np.count_nonzero(np.array(distances) < HARDLY_MOVED)
        numbers = " | ".join(f"{100 * value:.2g} %" for value in (np.median(distances), min(distances), max(distances)))
        lines.append(f"| {run.fields['data']}, {name} | {numbers} | {below} of {len(distances)} |")
    lines.append("")
    for data, diagnoses in found.items():
        path = folder / f"{experiment.name}-{data}.png"
        plot_depth(
            diagnoses, "relative_distance", path, title=f"{data}: distance of the weights from their start by layer"
        )
        lines.append(f"picture: {path}")
    return lines


def _diagnoses(results, quantities, thresholds=(0.05,)):
    """Data set -> name of a network -> `Diagnosis` on all its training images."""
    found = {}
    for run, _, model, splits in trained(results):
        diagnosis = measure(model, splits.train_in_order(), quantities=quantities, thresholds=thresholds)
        found.setdefault(run.fields["data"], {})[TITLES[run.fields["scenario"]]] = diagnosis
    return found


def trained(results):
    """Run, folder, model and data of one run of each network, of those that did not diverge."""
    for run, directory in one_each(results):
        yield run, directory, load_model(directory.model)[0], splits_of_run(directory)
