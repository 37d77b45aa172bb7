"""The parts of a report's page on the answers themselves: classes, confusion, calibration, labels, values."""

import numpy as np

from dirac_keras.evaluation import figures
from dirac_keras.evaluation.summary import number, percent, points
from dirac_keras.files.amounts import counted
from dirac_keras.pages import Cell, escape, shortened

FEW = 30  # classes up to which one table shows all, and the matrix has their names


def classes(page, record, most=None):
    """A table of the classes; the worst by F1 where only some are shown."""
    rows = record["per_class"]
    numbers = {row["name"]: number for number, row in enumerate(rows)}
    if most:
        rows = sorted((row for row in rows if row["support"]), key=lambda row: row["f1"] or 0.0)[:most]
    cells = [
        [
            row["name"],
            _share(row["precision"]),
            _share(row["recall"]),
            _share(row["f1"]),
            row["support"],
            row["predicted"],
        ]
        for row in rows
    ]
    columns = ["class", "precision", "recall", "F1", "images", "given"]
    if len(numbers) > FEW:  # the picture of what is taken for what has numbers
        columns.append("number")
        cells = [[*line, numbers[row["name"]]] for line, row in zip(cells, rows, strict=True)]
    body = page.table(columns, cells)
    means = record["macro"]
    body += page.text(
        f"Means over classes: precision {number(means['precision'])}, recall {number(means['recall'])}, F1 "
        f"{number(means['f1'])}."
    )
    return body, (
        "Precision: of the images given the class, the share that have it. Recall: of the images that have it, the "
        "share that were given it. F1: their harmonic mean."
    )


def confusion(page, record):
    """The matrix with names for few classes, as a picture for many; the most confused pairs."""
    found, names = record["confusion"], [row["name"] for row in record["per_class"]]
    if "matrix" in found:
        matrix = np.array(found["matrix"])
    else:
        matrix = np.zeros((len(names), len(names)), "int64")
        for true, predicted, images in found["pairs"]:
            matrix[true, predicted] = images
    if len(names) <= FEW:
        body = _matrix_table(matrix, names)
    else:
        alt = f"confusion matrix of {len(names)} classes; the most confused pairs are in the table"
        caption = "Right answers lie on the diagonal. The numbers of the classes are in their table."
        if (side := figures.block_of(len(names))) > 1:
            caption += f" A square is {side} by {side} neighbouring classes, coloured by its largest share."
        body = page.picture(figures.plot_confusion(matrix), alt, caption, photo=True)
    if record["most_confused"]:
        cells = [
            [row["true"], row["predicted"], row["images"], percent(row["share"])] for row in record["most_confused"]
        ]
        columns = ["true class", "taken for", "images", "of the true class"]
        body += page.table(columns, cells, caption="The most confused pairs")
    else:
        body += page.text("No image was taken for another class.")
    return body, "Rows: the true class. Columns: the class that the network gives."


def _matrix_table(matrix, names):
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    head = "".join(
        f'<th scope="col" class="number"><span class="upright" title="{escape(name)}">{escape(shortened(name))}</span>'
        "</th>"
        for name in names
    )
    rows = []
    for k, name in enumerate(names):
        cells = "".join(
            f'<td class="number" style="background:rgba({"26,127,55" if j == k else "213,94,0"},'
            f'{min(0.75, 0.08 + 1.2 * shares[k, j] if j != k else 0.6 * shares[k, j]):.2f})">{matrix[k, j]:,}</td>'
            if matrix[k, j]
            else '<td class="number"></td>'
            for j in range(len(names))
        )
        rows.append(f'<tr><th scope="row" title="{escape(name)}">{escape(shortened(name))}</th>{cells}</tr>\n')
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="confusion matrix"><table><thead><tr><th></th>'
        f"{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody></table></div>\n"
    )


def calibration(page, record):
    """The reliability diagram, the error, the temperature."""
    found = record["calibration"]
    picture = page.picture(
        figures.plot_reliability(found["reliability"]),
        "share of right answers over confidence, and images by confidence",
    )
    lines = [
        f"Expected calibration error {found['expected_error']:.4f}, over {found['bins']} bins of equal width.",
        f"Mean confidence minus accuracy {points(found['confidence_minus_accuracy'])} points.",
    ]
    if scaling := found["temperature"]:
        lines.append(
            f"Temperature {scaling['temperature']:.3f}, fitted on {counted(scaling['images_fitted'], 'image')}: "
            f"{_direction(scaling['temperature'])}. On the other "
            f"{scaling['images_held_out']:,} the error is {scaling['before']:.4f} without it and "
            f"{scaling['after']:.4f} with it."
        )
        if scaling["is_at_bound"]:
            lines.append(
                "That is the end of the range that is tried: these images do not say which temperature is best."
            )
    rows = [
        [f"{row['low']:.3f} to {row['high']:.3f}", row["images"], _share(row["confidence"]), _share(row["accuracy"])]
        for row in found["reliability"]
    ]
    table = page.table(["confidence", "images", "mean confidence", "right"], rows, sortable=False)
    return page.grid(picture, f"<div>{page.text(chr(10).join(lines))}{table}</div>"), (
        "Healthy: the line lies on the diagonal. Below it the network is surer than right."
    )


def _direction(temperature):
    """What dividing the logits by a temperature does, in words; to three digits, as it is written."""
    if f"{temperature:.3f}" == "1.000":
        return "the probabilities stay as they are"
    return "above 1, it makes the network less sure" if temperature > 1.0 else "below 1, it makes the network surer"


def labels(page, record, most=None):
    """A table of the labels of data with several an image; the worst by average precision where only some are shown."""
    rows = record["per_label"]
    if most:
        known = [row for row in rows if row["average_precision"] is not None]
        rows = sorted(known, key=lambda row: row["average_precision"])[:most]
    columns = ["label", "average precision", "precision", "recall", "F1", "images", "given", "threshold",
               "F1 at 0.5", "F1 at the threshold"]  # fmt: skip
    cells = [
        [row["name"], number(row["average_precision"]), _share(row["precision"]), _share(row["recall"]),
         _share(row["f1"]), row["support"], row["predicted"], number(row["threshold"]), _share(row["f1_held_out"]),
         _share(row["f1_at_threshold"])]
        for row in rows
    ]  # fmt: skip
    return page.table(columns, cells), (
        "Precision, recall and F1 at a probability of 0.5. The threshold has the best F1 on one half of the images; "
        "the last two columns are of the other half."
    )


def values(page, record):
    """A table of the values of a network that gives numbers."""
    columns = ["value", "mean absolute error", "root mean squared error", "deviation", "share explained (R2)"]
    cells = [
        [row["name"], *(f"{row[key]:.4g}" for key in ("mean_absolute_error", "root_mean_squared_error", "deviation")),
         number(row["r2"])]
        for row in record["per_value"]
    ]  # fmt: skip
    picture = page.picture(figures.plot_values(record["per_value"]), "error of each value over its deviation")
    return page.grid(page.table(columns, cells), picture), "Deviation: the error of always answering the mean."


def _share(value):
    return Cell("\N{EN DASH}", sort=-1.0) if value is None else percent(value)
