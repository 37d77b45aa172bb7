"""The numbers that a verdict goes by."""

import math

from dirac_keras.diagnostics.verdict.thresholds import DEFAULT_THRESHOLDS

# Those of the networks that the thresholds come from. Others, such as sigmoid, have one pattern common to all images
# by their offset, and train.
JUDGED_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "prelu", "linear")


def signs(diagnosis):
    """The numbers that the verdict on an untrained network goes by, under the names of `Thresholds`.

    Args:
        diagnosis: `Diagnosis`.

    Returns: dict `own_share`, `relative_gradient`, `gradient_growth` -> float, or None where it was not measured.
    """
    hidden = [record for record in diagnosis.layers if not record.is_output]
    shares = [r for r in with_leading_share(hidden)[-1:] if r.activation in JUDGED_ACTIVATIONS]
    gradients = [] if waits_for_classifier(diagnosis) else [relative(record) for record in with_gradient(hidden)]
    growing = [value for value in gradients if value > 0]
    if not growing and any(starts_at_zero(diagnosis, record) for record in hidden):
        gradients = []  # every kernel is in a branch that waits for its end
    return {
        "own_share": 1 - shares[-1].spectrum.leading_share if shares else None,
        "relative_gradient": max(gradients) if gradients else None,
        "gradient_growth": max(growing) / min(growing) if len(growing) > 1 else None,
    }


def layer_signs(diagnosis):
    """What `signs` goes by, layer by layer.

    Args:
        diagnosis: `Diagnosis`.

    Returns: list of `(number, LayerRecord, own share, relative gradient)` of the hidden layers, numbered from 1 in the
        order of computation among all layers; None where it was not measured.
    """
    found = []
    for number, record in enumerate(diagnosis.layers, start=1):
        if not record.is_output:
            share = 1 - record.spectrum.leading_share if with_leading_share([record]) else None
            found.append((number, record, share, relative_or_none(record)))
    return found


def judged_rank(diagnosis, thresholds=DEFAULT_THRESHOLDS):
    """The effective rank that a trained network's last hidden layer should have; None where it is not judged."""
    classes = max((record.units for record in diagnosis.layers if record.is_output), default=0)
    least = thresholds.rank_per_class * classes
    return None if least <= 1 or diagnosis.samples < 2 * classes else least


def dead_share(record):
    """The share of a layer's units that are 0 for every image, behind ReLU and ReLU6; None behind others."""
    return None if record.activations is None else record.activations.dead_units


def waits_for_classifier(diagnosis):
    """Whether no gradient passes a classifier that starts at 0: the first step changes that."""
    classifiers = [r.gradients for r in diagnosis.layers if r.is_output and r.gradients is not None]
    return any(g.relative_kernel_gradient is None and g.kernel_gradient_norm > 0 for g in classifiers)


def starts_at_zero(diagnosis, record):
    """Whether a layer that answers 0 to every image does so in the first step alone: what makes it 0 gets a gradient.

    So begins a branch beside a skip connection whose last kernel, or the scale of whose last normalization, is 0.
    Behind a ReLU no gradient passes, whatever comes from above. Under a classifier that starts at 0 none has come yet.
    """
    if not diagnosis.at_start or record.spectrum is None or record.spectrum.zero_units < 1.0:
        return False
    gradients, is_open = record.gradients, record.activation == "linear"
    if gradients is None:
        return False
    if waits_for_classifier(diagnosis):
        return is_open
    return gradients.kernel_gradient_norm > 0 or (is_open and gradients.response_gradient_norm > 0)


def waits_for_branch(diagnosis, record):
    """Whether a kernel has a gradient of exactly 0 in the first step, which is not the classifier's doing."""
    return diagnosis.at_start and relative_or_none(record) == 0 and not waits_for_classifier(diagnosis)


def relative_or_none(record):
    return relative(record) if with_gradient([record]) else None


def with_gradient(records):
    return [r for r in records if r.gradients is not None and r.gradients.relative_kernel_gradient is not None]


def with_leading_share(records):
    return [r for r in records if r.spectrum is not None and r.spectrum.leading_share is not None]


def relative(record):
    value = record.gradients.relative_kernel_gradient
    return value if math.isfinite(value) else math.inf
