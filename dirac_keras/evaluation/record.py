"""The numbers of one network's outcomes as a JSON-safe record."""

import dataclasses

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from dirac_keras.evaluation import calibration
from dirac_keras.evaluation.classes import Confusion, class_figures, macro
from dirac_keras.evaluation.intervals import wilson
from dirac_keras.evaluation.labels import f1_scores, label_figures
from dirac_keras.evaluation.outcomes import CLASSES, LABELS
from dirac_keras.evaluation.values import value_figures
from dirac_keras.listing import listed

WILSON = "Wilson score, 95 %"
WHOLE_MATRIX = 100  # classes, up to which the matrix is written whole, else the pairs that occur


def record_of(outcomes, names, seed=0):
    """What the outcomes come to.

    Args:
        outcomes: `Outcomes`.
        names: of the classes, labels or values.
        seed: draws the halves that fit and test.

    Returns: dict; `left_out` lists what these data do not allow, `{"what", "why"}`.
    """
    names = list(map(str, names))
    sections = {CLASSES: _classes, LABELS: _labels}.get(outcomes.task, _values)
    left_out = []
    record = {"images": outcomes.images, "loss": float(np.mean(outcomes.columns["loss"]))}
    record |= sections(outcomes, names, seed, left_out)
    return record | {"left_out": left_out}


def _share(right):
    found = wilson(int(np.sum(right)), len(right))
    return found.value, {"low": found.low, "high": found.high, "method": WILSON}


def _classes(outcomes, names, seed, left_out):
    columns, truth = outcomes.columns, outcomes.truth
    record = {}
    record["accuracy"], record["accuracy_interval"] = _share(columns["right"])
    if len(names) > 5:
        record["top5"], record["top5_interval"] = _share(columns["rank"] < 5)
    else:
        left_out.append(_gap("top-5 accuracy", f"there are only {len(names)} classes"))
    if len(names) == 2:
        record |= _two_classes(outcomes, names, left_out)
    figures = class_figures(truth, columns["predicted"], names)
    record["commonest_class_share"] = max(row.support for row in figures) / outcomes.images
    record["macro"] = {field: macro(figures, field) for field in ("precision", "recall", "f1")}
    record["per_class"] = [dataclasses.asdict(row) for row in figures]
    if absent := [row.name for row in figures if not row.support]:
        record["absent_classes"] = absent
        left_out.append(_gap(f"recall of {listed(absent, 5)}", "no image has it; it is not in the means either"))
    if unused := [row.name for row in figures if row.support and not row.predicted]:
        left_out.append(_gap(f"precision of {listed(unused, 5)}", "no image was given it; in the means it counts as 0"))
    confusion = Confusion.of(truth, columns["predicted"], len(names))
    record["confusion"] = _matrix(confusion)
    record["most_confused"] = [
        {"true": names[t], "predicted": names[p], "images": n, "share": share} for t, p, n, share in confusion.worst()
    ]
    record["calibration"] = _calibration(outcomes, seed, left_out)
    record["mistakes"] = [
        {
            "index": kept.index,
            "true": names[truth[kept.index]],
            "predicted": names[columns["predicted"][kept.index]],
            "probability": float(columns["confidence"][kept.index]),
            "probability_of_true": float(columns["chosen"][kept.index]),
        }
        for kept in outcomes.worst
    ]
    return record


def _two_classes(outcomes, names, left_out):
    columns, truth = outcomes.columns, outcomes.truth
    if len(np.unique(truth)) < 2:
        left_out.append(_gap("average precision and ROC AUC", "all images are of one class"))
        return {}
    second = np.where(columns["predicted"] == 1, columns["confidence"], 1.0 - columns["confidence"])
    return {
        "second_class": {
            "name": names[1],
            "average_precision": float(average_precision_score(truth, second)),
            "roc_auc": float(roc_auc_score(truth, second)),
        }
    }


def _matrix(confusion):
    if confusion.classes <= WHOLE_MATRIX:
        return {"rows": "true class", "columns": "predicted class", "matrix": confusion.matrix().tolist()}
    entries = zip(confusion.true.tolist(), confusion.predicted.tolist(), confusion.images.tolist(), strict=True)
    return {"entries": "true class, predicted class, images", "pairs": [list(entry) for entry in entries]}


def _calibration(outcomes, seed, left_out):
    rows = calibration.reliability(outcomes.columns["confidence"], outcomes.right)
    record = {
        "bins": calibration.BINS,
        "binning": "equal width, of the predicted class's probability",
        "expected_error": calibration.expected_error(rows),
        "confidence_minus_accuracy": calibration.mean_gap(rows),
        "reliability": [dataclasses.asdict(row) for row in rows],
        "temperature": None,
    }
    if outcomes.images < 2:
        left_out.append(_gap("temperature", "it needs two images or more, one to fit it and one to test it"))
        return record
    if len(outcomes.kept) < outcomes.images:
        left_out.append(_gap("temperature of all images", f"{len(outcomes.kept):,} of them, drawn at random, say it"))
    scaling = calibration.scale(outcomes.outputs, outcomes.truth[outcomes.kept], seed)
    return record | {"temperature": dataclasses.asdict(scaling)}


def _labels(outcomes, names, seed, left_out):
    truth = outcomes.truth[outcomes.kept]
    if len(outcomes.kept) < outcomes.images:
        left_out.append(_gap("figures of labels of all images", f"{len(outcomes.kept):,}, drawn at random, say them"))
    figures = label_figures(truth, outcomes.outputs, names, seed)
    known = [row.average_precision for row in figures if row.average_precision is not None]
    if len(known) < len(figures):
        unknown = [row.name for row in figures if row.average_precision is None]
        left_out.append(_gap(f"average precision of {listed(unknown, 5)}", "no image has it, or every image has it"))
    record = {}
    record["exact_match"], record["exact_match_interval"] = _share(outcomes.right)
    _, counts = np.unique(np.asarray(outcomes.truth), axis=0, return_counts=True)
    record["commonest_labels_share"] = int(counts.max()) / outcomes.images
    record["f1_macro"], record["f1_micro"] = f1_scores(truth, outcomes.outputs)
    record["mean_average_precision"] = float(np.mean(known)) if known else None
    record["per_label"] = [dataclasses.asdict(row) for row in figures]
    if absent := [name for name, has in zip(names, np.any(np.asarray(outcomes.truth), axis=0), strict=True) if not has]:
        record["absent_labels"] = absent
    record["mistakes"] = []
    place = {index: k for k, index in enumerate(outcomes.kept.tolist())}
    for kept in outcomes.worst:
        row = {"index": kept.index, "true": [names[k] for k in np.flatnonzero(outcomes.truth[kept.index])]}
        row |= {"loss": kept.badness, "wrong_labels": int(outcomes.columns["wrong"][kept.index])}
        if kept.index in place:
            given = outcomes.outputs[place[kept.index]]
            row["predicted"] = {names[k]: float(given[k]) for k in np.flatnonzero(given > 0.5)}
        record["mistakes"].append(row)
    return record


def _values(outcomes, names, seed, left_out):
    if len(outcomes.kept) < outcomes.images:
        left_out.append(_gap("figures of all images", f"{len(outcomes.kept):,} of them, drawn at random, say them"))
    figures = value_figures(outcomes.truth[outcomes.kept], outcomes.outputs, names)
    place = {index: k for k, index in enumerate(outcomes.kept.tolist())}
    return {
        "mean_absolute_error": float(np.mean([row.mean_absolute_error for row in figures])),
        "per_value": [dataclasses.asdict(row) for row in figures],
        "mistakes": [
            {
                "index": kept.index,
                "true": dict(zip(names, map(float, outcomes.truth[kept.index]), strict=True)),
                "predicted": dict(zip(names, map(float, outcomes.outputs[place[kept.index]]), strict=True)),
                "error_in_deviations": kept.badness,
            }
            for kept in outcomes.worst
            if kept.index in place
        ],
    }


def _gap(what, why):
    return {"what": what, "why": why}
