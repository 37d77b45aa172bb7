"""What can be wrong with a network: a `Finding`, None if it is not, a str if it cannot be told."""

from dirac_keras.diagnostics.verdict.signs import (
    dead_share,
    judged_rank,
    relative,
    signs,
    starts_at_zero,
    waits_for_branch,
    with_gradient,
    with_leading_share,
)
from dirac_keras.diagnostics.verdict.words import Finding, advice, names, where
from dirac_keras.files.amounts import counted
from dirac_keras.listing import quoted

ENOUGH_IMAGES = 32  # to call a unit dead that is 0 for all of them


def not_finite(diagnosis, hidden, thresholds):
    name = diagnosis.first_non_finite
    if name is None:
        return None
    holder = "the images hold" if name == "inputs" else f"{name} is the first layer with"
    return Finding(
        "not finite",
        () if name == "inputs" else (name,),
        f"{holder} NaN or infinite values.",
        "Clean the data."
        if name == "inputs"
        else "Start again with smaller kernels, a lower learning rate or float32.",
    )


def silent(diagnosis, hidden, thresholds):
    layers = [record for record in silent_layers(hidden) if not starts_at_zero(diagnosis, record)]
    if not layers:
        return None
    return Finding(
        "silent",
        names(layers),
        f"{where(layers, hidden)}: every unit is 0 for every image, so no gradient passes.",
        advice(diagnosis, "start again with a lower learning rate or larger kernels (he_normal)"),
    )


def without_gradient(diagnosis, hidden, thresholds):
    """A str: the layers that the first step leaves as they are, of which the start shows no gradient; or None."""
    resting = [record for record in hidden if waits_for_branch(diagnosis, record)]
    if not resting or silent(diagnosis, hidden, thresholds) is not None or signs(diagnosis)["relative_gradient"] == 0:
        return None  # what is found tells why
    zero = [record for record in silent_layers(hidden) if starts_at_zero(diagnosis, record)]
    why = f" ({quoted(names(zero))})" if zero else ""
    return (
        f"the gradient of {counted(len(resting), 'layer')} of {len(hidden)} ({quoted(names(resting))}), which is 0 in "
        f"the first step, as in a branch that starts at 0{why}. If what is 0 there is trained, they learn from the "
        "second step on, and how well is not known yet; if it is fixed, they never learn"
    )


def dead_units(diagnosis, hidden, thresholds):
    """Most units of a layer are 0 for every image. A silent layer is none: all are, which `silent` tells."""
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    if diagnosis.samples < max(ENOUGH_IMAGES, 2 * classes):  # a unit may answer to images that are not among them
        return None
    layers = [record for record in hidden if 1 - thresholds.living_units < (dead_share(record) or 0) < 1]
    if not layers:
        return None
    worst = max(layers, key=dead_share)
    dead = round(dead_share(worst) * worst.units)
    return Finding(
        "dead units",
        names(layers),
        f"{where(layers, hidden)}: most units are 0 for every image, {dead:,} of {worst.units:,} "
        f"({dead_share(worst):.0%}) in {worst.name}: no gradient reaches them.",
        advice(diagnosis, "start again with a lower learning rate, or with fewer units"),
    )


def one_pattern(diagnosis, hidden, thresholds):
    own_share = signs(diagnosis)["own_share"]
    if own_share is None:
        return "how much the responses differ from image to image (no spectrum, all are 0, or no ReLU of any kind)"
    if own_share >= thresholds.own_share:
        return None
    measured = with_leading_share(hidden)
    layers = from_the_end(measured, lambda record: 1 - record.spectrum.leading_share < thresholds.own_share)
    last = layers[-1].spectrum
    return Finding(
        "one pattern",
        names(layers),
        f"{where(layers, hidden)}: all images give the same pattern, {last.leading_share:.2%} of the last layer's "
        f"responses is a multiple of it (effective rank {last.effective_rank:.1f} of {last.units}"
        + (f", {last.collinear_pairs:.0%} of the pairs of units collinear" if last.collinear_pairs is not None else "")
        + ").",
        advice(diagnosis, "use fewer layers"),
    )


def gradient_size(diagnosis, hidden, thresholds):
    relative_gradient = signs(diagnosis)["relative_gradient"]
    if relative_gradient is None:
        return (
            "the size of the gradients (none measured, or the classifier's kernel is 0, or the end of every branch is "
            "0, and lets none through yet)"
        )
    measured = with_gradient(hidden)
    largest = max(measured, key=relative)
    if relative_gradient < thresholds.relative_gradient:
        return Finding(
            "vanishing gradient",
            names(measured),
            f"{where(measured, hidden)}: the gradient is at most {relative_gradient:.1g} of the kernel "
            f"({largest.name}), so a step changes next to nothing.",
            advice(diagnosis, "start from larger kernels (he_normal)"),
        )
    if relative_gradient > thresholds.relative_gradient_limit and not diagnosis.has_normalization:
        return Finding(
            "exploding gradient",
            (largest.name,),
            f"layer {largest.name}: the gradient is {relative_gradient:.2g} times the kernel, nothing normalizes: "
            "a step throws the kernel away.",
            advice(
                diagnosis, f"start from smaller kernels (he_normal), or at a rate near {0.1 / relative_gradient:.0e}"
            ),
        )
    return None


def uneven_gradient(diagnosis, hidden, thresholds):
    growth = signs(diagnosis)["gradient_growth"]
    if growth is None:
        return "how the gradients grow from layer to layer (fewer than two hidden layers have one)"
    if growth <= thresholds.gradient_growth:
        return None
    measured = [record for record in with_gradient(hidden) if relative(record) > 0]
    largest, smallest = max(measured, key=relative), min(measured, key=relative)
    return Finding(
        "uneven gradient",
        (largest.name, smallest.name),
        f"the gradient, relative to the kernel, is {growth:.1g} times as large in {largest.name} as in "
        f"{smallest.name}: a rate that suits one is useless for the other.",
        advice(diagnosis, "use fewer layers"),
    )


def low_rank(diagnosis, hidden, thresholds):
    measured = [record for record in hidden if record.spectrum is not None]
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    if not measured or not classes:
        return "the rank of the responses (no spectrum, or no classifier)"
    least = judged_rank(diagnosis, thresholds)
    if least is None:
        return f"the rank of the responses ({classes} classes, {diagnosis.samples} images: too few to tell)"
    measured = [record for record in measured if record.spectrum.zero_units < 1]  # of the others `silent` tells
    if not measured or measured[-1].spectrum.units <= least or measured[-1].spectrum.effective_rank >= least:
        return None
    layers = from_the_end(measured, lambda record: record.spectrum.effective_rank < least)
    last = measured[-1].spectrum
    above = units_above(layers[-1])
    found = f"{where(layers, hidden)}: {above}rank {last.rank} of {last.units}, effective rank "
    found += f"{last.effective_rank:.1f}"
    helps, answers = advice(diagnosis, "use fewer layers"), diagnosis.answers
    if answers is None or answers.is_chance is not False:
        return Finding("low rank", names(layers), f"{found}: few patterns to tell {classes} classes apart.", helps)
    return Finding(
        "low rank",
        names(layers),
        f"{found}: fewer patterns than a trained network has for {classes} classes ({least:.1f} or more), though "
        f"{answers.accuracy:.1%} of the images are right.",
        f"Train it longer, if its accuracy still grows. Else: {helps[0].lower()}{helps[1:]}",
    )


def chance(diagnosis, hidden, thresholds):
    """The answers are no better than naming one class always."""
    answers = diagnosis.answers
    if answers is None:
        return "whether it has learned anything (no class numbers beside the images, or no outputs for them)"
    if answers.is_chance is None:
        images = counted(answers.samples, "image")
        return f"whether it has learned anything ({images} of {counted(answers.classes, 'class', 'classes')}: too few)"
    if not answers.is_chance:
        return None
    return Finding(
        "chance",
        (),
        f"it names {answers.accuracy:.1%} of {answers.samples:,} images right, no more than chance: always naming the "
        f"most frequent class gets {answers.most_frequent:.1%}, and {answers.accuracy_of_chance:.1%} would tell.",
        "Untrained: judge its start (`at_start`, `--init`). Better elsewhere: the images are prepared "
        "differently there, or the classes are in another order. Else train it longer or at another learning rate.",
    )


def silent_layers(hidden):
    return [record for record in hidden if record.spectrum is not None and record.spectrum.zero_units == 1.0]


def units_above(record):
    if record.activations is None or not record.activations.units_above:
        return ""
    threshold, share = next(iter(record.activations.units_above.items()))
    return f"{1 - share:.0%} of units below {threshold}, "


def from_the_end(records, test):
    """The records at the end that all pass a test."""
    count = next((k for k, record in enumerate(reversed(records)) if not test(record)), len(records))
    return records[len(records) - count :]
