"""The parts of a report's page: each a function of the record that returns the body and the note of a section."""

import pathlib

from dirac_keras.evaluation import figures
from dirac_keras.evaluation.outcomes import CLASSES, LABELS, VALUES
from dirac_keras.evaluation.summary import compared, number, percent, points
from dirac_keras.evaluation.thumbnails import thumbnail
from dirac_keras.listing import listed
from dirac_keras.pages import shortened

MOST_NAMES = 4  # below a picture
MOST_LETTERS = 32  # of each
_GALLERY = "display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr))"


def facts(record):
    """Names and values at the top."""
    shown = {}
    if record["task"] == CLASSES:
        shown["accuracy"] = _with_interval(record, "accuracy")
        if "top5" in record:
            shown["top-5 accuracy"] = _with_interval(record, "top5")
        shown["mean F1 over classes"] = number(record["macro"]["f1"])
        shown["calibration error"] = number(record["calibration"]["expected_error"])
        if "second_class" in record:
            shown["ROC AUC"] = number(record["second_class"]["roc_auc"])
            shown[f"average precision of {record['second_class']['name']}"] = number(
                record["second_class"]["average_precision"]
            )
    elif record["task"] == LABELS:
        shown["all labels right"] = _with_interval(record, "exact_match")
        shown["mean average precision"] = number(record["mean_average_precision"])
        shown["mean F1 over labels"] = number(record["f1_macro"])
    elif len(record["per_value"]) == 1:  # of several, each in its own unit, a mean says nothing
        shown["mean absolute error"] = f"{record['mean_absolute_error']:.4g}"
    loss = f"{record['loss']:.4f}" if record["loss"] < 1000 else f"{record['loss']:,.0f}"
    return shown | {"loss": loss, "images": f"{record['images']:,}"}


def comparison(page, record):
    """Two networks: who is right where, and what that says."""
    found = record["comparison"]
    rows = [
        ["both right", found["both"]],
        ["only this network", found["only_first"]],
        [f"only {found['model']}", found["only_second"]],
        ["neither", found["neither"]],
    ]
    test = found["mcnemar"]
    body = page.text(compared(record)) + page.table(["right", "images"], rows, sortable=False)
    body += page.facts(
        {
            "McNemar, exact": f"p = {test['exact']:.3g}",
            "McNemar, with continuity correction": f"{test['chi_squared']:.3f}, p = {test['approximate']:.3g}",
            "accuracy of the other": percent(found["accuracy"]),
            "loss of the other": f"{found['loss']:.4f}",
            **({"same answer": percent(found["agreement"])} if "agreement" in found else {}),
        }
    )
    if "per_class" in found:
        apart = sorted(found["per_class"], key=lambda row: -abs(row["recall"] - row["recall_other"]))[:10]
        cells = [
            [row["name"], row["images"], percent(row["recall"]), percent(row["recall_other"]),
             points(row["recall"] - row["recall_other"])]
            for row in apart
        ]  # fmt: skip
        columns = ["class", "images", "recall", "recall of the other", "points"]
        body += page.table(columns, cells, caption="Classes on which they differ most")
    return body, (
        "Only images that one of the two has right tell which is better. A p-value below 0.05: so uneven a count would "
        "be rare between networks of the same accuracy."
    )


def views(page, record):
    """Before and after averaging over views."""
    found = record["views"]
    gap, test = found["difference"], found["mcnemar"]
    rows = [
        ["accuracy", percent(found["accuracy_before"], 2), percent(found["accuracy_after"], 2)],
        ["loss", f"{found['loss_before']:.4f}", f"{found['loss_after']:.4f}"],
    ]
    body = page.table(["", "before", f"after: {record['test_time_augmentation']}"], rows, sortable=False)
    body += page.text(
        f"Difference {points(gap['value'], 2)} points (95 % interval {points(gap['low'], 2)} to "
        f"{points(gap['high'], 2)}); {found['only_first']:,} images became right, {found['only_second']:,} wrong; "
        f"McNemar p = {test['exact']:.2g}."
    )
    return body, "Outputs averaged over views of each image. All other figures of this page are after it."


def mistakes(page, record, pictures):
    """The worst images."""
    parts = []
    for row in record["mistakes"]:
        text = _mistake(record["task"], row)
        parts.append(page.picture(thumbnail(pictures[row["index"]]), text.replace("\n", ", "), text, photo=True))
    notes = {
        CLASSES: "Wrong answers that the network was surest of.",
        LABELS: "Images with wrong labels, by their loss.",
        VALUES: "Images with the largest errors, each in standard deviations of its value on these images; of several "
        "values the root of their mean square.",
    }
    return f'<div style="{_GALLERY}">\n{"".join(parts)}</div>\n', (
        notes[record["task"]] + " Some may be wrong labels of the data: look before you blame the network."
    )


def _mistake(task, row):
    """The text below a picture, which is narrow: of long names both ends, of many some."""
    where = pathlib.PurePath(row["file"]).name if "file" in row else f"image {row['index']:,}"
    if task == CLASSES:
        true, predicted = _named(row["true"]), _named(row["predicted"])
        return (
            f"{true}, taken for {predicted}\n{percent(row['probability'])} sure, "
            f"{percent(row['probability_of_true'])} for {true}\n{where}"
        )
    if task == LABELS:
        return f"{_labels(row)}\nloss {row['loss']:.2f}; {where}"
    pairs = [f"{_named(name)} {row['true'][name]:.4g}, given {row['predicted'][name]:.4g}" for name in row["true"]]
    more = [f"and {len(pairs) - MOST_NAMES} more"] if len(pairs) > MOST_NAMES else []
    return f"{'; '.join(pairs[:MOST_NAMES] + more)}\n{row['error_in_deviations']:.2f} deviations; {where}"


def _labels(row):
    """Those of an image and those it was given; where these are many, what differs alone."""
    true = {name: _named(name) for name in row["true"]}
    if "predicted" not in row:  # of the part of the images whose answers are not kept
        return listed(true.values(), MOST_NAMES) or "none"
    given = {name: f"{_named(name)} {percent(share, 0)}" for name, share in row["predicted"].items()}
    if max(len(true), len(given)) <= MOST_NAMES:
        return f"{', '.join(true.values()) or 'none'}; given {', '.join(given.values()) or 'none'}"
    missed = listed([text for name, text in true.items() if name not in given], MOST_NAMES)
    wrong = listed([text for name, text in given.items() if name not in true], MOST_NAMES)
    return "; ".join(filter(None, (missed and f"not given {missed}", wrong and f"wrongly given {wrong}")))


def _named(name):
    return shortened(name, MOST_LETTERS)


def corruptions(page, record):
    """Accuracy on corrupted images."""
    found, other = record["corruptions"], record.get("corruptions_other")
    alt = "share of right answers by strength of each corruption; the numbers are in the table"
    caption = "Share of right answers by strength, 1 to 5; 0: the images as they are."
    body = page.picture(figures.plot_corruptions(found, other), alt, caption)
    cells = []
    for name, row in found["corruptions"].items():
        line = [name.replace("_", " "), *(percent(share) for share in row["accuracy"]), percent(row["mean"])]
        cells.append(line + ([percent(other["corruptions"][name]["mean"])] if other else []))
    columns = ["corruption", "1", "2", "3", "4", "5", "mean"] + (["mean of the other"] if other else [])
    body += page.table(columns, cells)
    clean = found["clean"]
    lines = [
        f"As they are, {percent(clean['accuracy'])} of the {found['images']:,} images are right (95 % interval "
        f"{100 * clean['low']:.1f} to {percent(clean['high'])})."
    ]
    if found["mean_accuracy"] is not None:
        theirs = f"; {percent(other['mean_accuracy'])} of the other" if other else ""
        lines.append(
            f"Mean over {len(found['mean_over'])} common corruptions: {percent(found['mean_accuracy'])}{theirs}. "
            "It is not divided by AlexNet's errors, as the mCE of the paper is."
        )
    return body + page.text("\n".join(lines)), (
        f"The common corruptions of Hendrycks & Dietterich 2019 with the constants of {found['constants']}, at five "
        "strengths."
    )


def method(page, record):
    """What was measured how, and what was left out."""
    shown = ("model", "data", "split", "input", "test_time_augmentation", "seed", "dirac_keras", "keras_backend")
    body = page.facts({name.replace("_", " "): record[name] for name in shown})
    if record["left_out"]:
        rows = [[row["what"], row["why"]] for row in record["left_out"]]
        body += page.table(["left out", "because"], rows, sortable=False)
    return body, ""


def _with_interval(record, name):
    interval = record[f"{name}_interval"]
    return f"{percent(record[name], 2)} ({100 * interval['low']:.2f} to {100 * interval['high']:.2f})"
