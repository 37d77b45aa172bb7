"""What a report comes to, in sentences."""

from dirac_keras.evaluation.outcomes import CLASSES, LABELS
from dirac_keras.files.amounts import counted
from dirac_keras.listing import listed

SURE = 0.05  # of confidence minus accuracy, from which a network counts as too sure or too unsure
MOST_VALUES = 4  # named in the verdict
ALPHA = 0.05  # p-value below which two networks differ


def headline(record):
    """`(level, text, points)` for the page's verdict and for the terminal.

    The level is `bad` where a network is not better than the answer that is right most often, or of labels none is told
    better than by chance; `fair` where its probabilities, a class or a label cannot be relied on; else `good`: whether
    an accuracy suffices, only its reader knows.

    Args:
        record: dict of `Report`.
    """
    if record["task"] == CLASSES:
        level, text, points = _classes(record)
    elif record["task"] == LABELS:
        level, text, points = _labels(record)
    else:
        level, text, points = _values(record)
    return level, text, points + _common(record)


def _values(record):
    rows = record["per_value"]
    useless = [row["name"] for row in rows if row["r2"] is not None and row["r2"] <= 0.0]
    constant = [row["name"] for row in rows if row["r2"] is None]
    points = [f"No better than always answering the mean: {listed(useless, 5)}."] if useless else []
    if constant:
        points.append(f"The same in all of these images, which says nothing about the network: {listed(constant, 5)}.")
    errors = [f"{row['name']} {row['mean_absolute_error']:.4g}" for row in rows]
    if len(rows) == 1:
        errors = [f"{rows[0]['mean_absolute_error']:.4g}"]
    level = "bad" if useless else "fair" if constant else "good"
    # Each in its own unit: their mean would be that of the largest.
    return level, f"Mean absolute error {listed(errors, MOST_VALUES)}.", points


def percent(share, digits=1):
    """A share as text: `93.1 %`."""
    return f"{100 * share:.{digits}f} %"


def points(difference, digits=1):
    """A difference of two shares, in percentage points: `+1.5`. One that rounds to nothing is `+0.0`, not `-0.0`."""
    return f"{round(100 * difference, digits) + 0.0:+.{digits}f}"


def number(value):
    """A number as text; a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def share_of(record, name):
    """`93.1 % of 2,000 images (95 % interval 91.9 to 94.1 %)`."""
    interval = record[f"{name}_interval"]
    return (
        f"{percent(record[name])} of {record['images']:,} images (95 % interval {100 * interval['low']:.1f} to "
        f"{percent(interval['high'])})"
    )


def _classes(record):
    text = f"The right class for {share_of(record, 'accuracy')}."
    calibration, points, level = record["calibration"], [], "good"
    if record["accuracy_interval"]["low"] <= record["commonest_class_share"]:
        level = "bad"
        points.append(
            f"Not surely better than always answering the commonest class, which is right for "
            f"{percent(record['commonest_class_share'])}."
        )
    never = [row["name"] for row in record["per_class"] if row["support"] and not row["recall"]]
    if never:
        level = "fair" if level == "good" else level
        points.append(f"Never right: {listed(never, 5)}.\nLook at what they are taken for.")
    gap = calibration["confidence_minus_accuracy"]
    if abs(gap) > SURE:
        level = "fair" if level == "good" else level
        how, side = ("More", "high") if gap > 0 else ("Less", "low")
        points.append(
            f"{how} sure than right by {100 * abs(gap):.1f} points: its probabilities are too {side}."
            f"{_mend(gap, calibration['temperature'])}"
        )
    else:
        points.append(
            f"As sure as right, within {100 * abs(gap):.1f} points on average; expected calibration error "
            f"{calibration['expected_error']:.3f}."
        )
    if record["most_confused"]:
        worst = record["most_confused"][0]
        points.append(
            f"Confused most: {worst['true']} is taken for {worst['predicted']}, {counted(worst['images'], 'time')} "
            f"({percent(worst['share'])} of its images)."
        )
    return level, text, points


def _mend(gap, scaling):
    """What the fitted temperature does about the gap, as the end of its point; empty if it does nothing.

    Above 1 it makes a network less sure, below 1 surer: the first mends one that is too sure, the second one that is
    too unsure. A fit that goes the other way has not mended the mean, but the probabilities of few sure mistakes.
    """
    if not scaling or scaling["is_at_bound"] or not scaling["after"] < scaling["before"]:
        return ""
    temperature = scaling["temperature"]
    if (temperature > 1.0) != (gap > 0):
        return ""
    effect = "less sure" if temperature > 1.0 else "surer"
    return (
        f"\nLogits divided by a temperature of {temperature:.2f}, which makes it {effect}, have an error of "
        f"{scaling['after']:.3f} instead of {scaling['before']:.3f} on images that did not fit it."
    )


def _absent(record):
    """The sentence on classes or labels that no image has."""
    absent = record.get("absent_classes") or record.get("absent_labels")
    if not absent:
        return []
    of, what = len(record.get("per_class") or record["per_label"]), "classes" if "per_class" in record else "labels"
    return [f"No image of {len(absent):,} of {of:,} {what}, of which nothing is known: {listed(absent, 5)}."]


def _labels(record):
    text = f"All labels are right for {share_of(record, 'exact_match')}."
    points, level = [], "good"
    if record["exact_match"] <= record["commonest_labels_share"]:
        level = "bad"
        points.append(
            f"No better than always answering the commonest labels together, which are right for "
            f"{percent(record['commonest_labels_share'])}."
        )
    known = [row for row in record["per_label"] if row["average_precision"] is not None]
    if known and all(row["average_precision"] <= row["share"] for row in known):
        level = "bad"
        points.append("No label is told better than by chance: no average precision is above its share of the images.")
    never = [row["name"] for row in record["per_label"] if row["support"] and not row["predicted"]]
    if never:
        level = "fair" if level == "good" else level
        points.append(f"Never given: {listed(never, 5)}.\nLook at their thresholds.")
    mean = record["mean_average_precision"]
    points.append("No average precision: see below." if mean is None else f"Mean average precision {mean:.3f}.")
    points.append(f"F1 {record['f1_macro']:.3f} as the mean over labels, {record['f1_micro']:.3f} over all answers.")
    return level, text, points


def _common(record):
    points = _absent(record)
    if "views" in record:
        views = record["views"]
        points.append(
            f"Test-time augmentation {record['test_time_augmentation']}: {percent(views['accuracy_before'])} before, "
            f"{percent(views['accuracy_after'])} after{_chance(views)}."
        )
    if "comparison" in record:
        points.append(compared(record))
    if "corruptions" in record:
        found = record["corruptions"]
        if found["mean_accuracy"] is not None:
            points.append(
                f"Corrupted images: {percent(found['mean_accuracy'])} right on average over "
                f"{len(found['mean_over'])} corruptions at five strengths, {percent(found['clean']['accuracy'])} of "
                "the same images as they are."
            )
    return points


def compared(record):
    """The sentence on two networks."""
    comparison = record["comparison"]
    gap, p = comparison["difference"], comparison["mcnemar"]["exact"]
    numbers = (
        f"{points(gap['value'])} points (95 % interval {points(gap['low'])} to {points(gap['high'])}), "
        f"McNemar p = {p:.2g}"
    )
    if p >= ALPHA:
        return f"No difference to {comparison['model']} that these images show: {numbers}."
    verb = "Better" if gap["value"] > 0 else "Worse"
    return f"{verb} than {comparison['model']}: {numbers}."


def _chance(views):
    return "" if views["mcnemar"]["exact"] < ALPHA else ", a difference that may be chance"
