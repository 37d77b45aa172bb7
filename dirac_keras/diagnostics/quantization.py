"""Which layers will not survive integers, why, and which change mends them."""

import dataclasses
from dataclasses import dataclass

from dirac_keras.brief import brief
from dirac_keras.deployment.quantization.grids import db_number, db_text
from dirac_keras.diagnostics.verdict import Finding, finding_lines
from dirac_keras.listing import by_reason, listed

# Signal to quantization noise ratio of the logits, decibels, that a network should keep. docs/quantization.md has what
# the accuracy does at which.
TARGETS = {8: 35.0, 4: 20.0}
IDENTITY = 8.0  # times the rms of the other taps, from where an identity tap sets the scale of its filter
ACTIVATION_OUTLIER = 20.0  # max/rms of a tensor: 255 steps of a range leave its rms 13
UNEVEN = 4.0  # range of the largest channel over the median


@brief
@dataclass(frozen=True)
class QuantizationVerdict:
    """What integers of so many bits would do to a network.

    Attributes:
        bits: int.
        survives: bool, whether the outputs keep `target` decibels with every weight at its nearest integer.
        target, db: floats.
        mended_db: float, the best that was measured with cures that leave the graph as it is; None if none was tried.
        layers: tuple of names of layers that take more than their share of the noise allowed, the worst first.
        summary: str, one sentence.
        findings: tuple of `Finding`; names `identity tap`, `outlier filters`, `coarse weights`, `activation outliers`,
            `uneven channels`, `activation range`, `dead channels`, `not quantized`.
        mends: tuple of str, what was tried and what it gave.
    """

    bits: int
    survives: bool
    target: float
    db: float
    mended_db: float | None
    layers: tuple
    summary: str
    findings: tuple
    mends: tuple

    def to_dict(self):
        """JSON-safe dict."""
        return dataclasses.asdict(self)

    def lines(self):
        """The verdict as text: the summary, evidence and advice of each finding, and what mends it."""
        return [self.summary, *finding_lines(self.findings), *(f"- measured: {line}" for line in self.mends)]


def judge_quantization(audit, report=None, target=None):
    """The verdict on a network whose kernels would go to the nearest integers.

    Of n layers each may add the n-th part of the noise that the target allows. A layer that adds more is named, with
    the reason that its weights show.

    Args:
        audit: `deployment.quantization.QuantizationAudit`.
        report: `deployment.quantization.QuantizationReport` of the same network and bits, or None.
        target: decibels; None takes `TARGETS`.

    Returns: `QuantizationVerdict`.
    """
    target = TARGETS.get(audit.bits, TARGETS[8] if audit.bits > 6 else TARGETS[4]) if target is None else target
    survives = audit.db >= target
    layers = [] if survives else _over_share(audit.layers, target)
    tensors = [] if survives else _over_share(audit.tensors, target)
    findings = [*_weights(audit, layers), *_activations(audit, tensors), *_always(audit)]
    trials = () if report is None else report.trials
    same_graph = [trial for trial in trials if "identity_apart" not in trial.cures]
    mended = max((trial.db for trial in same_graph), default=None)
    return QuantizationVerdict(
        bits=audit.bits,
        survives=survives,
        target=target,
        db=audit.db,
        mended_db=mended,
        layers=tuple(layer.path for layer in layers),
        summary=_summary(audit, survives, target, mended, layers),
        findings=tuple(findings),
        mends=tuple(_mends(trials, target)),
    )


def _over_share(records, target):
    """Those that alone add more than an equal part of the noise that the target allows, the worst first."""
    allowed = 10 ** (-target / 10) / max(len(records), 1)
    over = [record for record in records if 10 ** (-record.alone_db / 10) > allowed]
    return sorted(over, key=lambda record: record.alone_db)


def _summary(audit, survives, target, mended, layers):
    kind = f"int{audit.bits}"
    if survives:
        reached = db_text(audit.db, "no noise")
        return f"{kind}: the network survives: {reached} at its outputs without any cure ({target:g} are asked)."
    start = (
        f"{kind}: {len(layers)} of {len(audit.layers)} layers will not survive: {audit.db:.1f} dB at the outputs, "
        f"{target:g} are asked"
    )
    if mended is None:
        return f"{start}."
    reached = "are reached" if mended >= target else "are the most that is reached"
    return f"{start}; with cures that leave the graph as it is {mended:.1f} dB {reached}."


def _weights(audit, layers):
    identity = [layer for layer in layers if (layer.identity_ratio or 0) >= IDENTITY]
    outliers = [layer for layer in layers if layer not in identity and layer.outlier_filters]
    rest = [layer for layer in layers if layer not in identity and layer not in outliers]
    largest = 2 ** (audit.bits - 1) - 1
    if identity:
        ratios = [layer.identity_ratio for layer in identity]
        yield Finding(
            "identity tap",
            _paths(identity),
            f"{_named(identity, audit)}: the identity tap is {_span(ratios)} times the rms of the learned taps beside "
            f"it. It becomes the integer {largest}, and leaves the learned ones "
            f"{_span([largest / ratio for ratio in ratios], 1)} steps of rms; the layers alone "
            f"{_span([layer.alone_db for layer in identity])} dB.",
            ("" if audit.bits > 4 else "Export to ONNX or OpenVINO, whose int4 keeps it in float at no cost. ")
            + 'Round by calibration data ("follow"); keep the identity apart ("identity_apart": an addition a layer, '
            "no plain chain any more); or train with small identity taps (docs/quantization.md).",
        )
    if outliers:
        count = sum(layer.outlier_filters for layer in outliers)
        of = sum(layer.filters for layer in outliers)
        yield Finding(
            "outlier filters",
            _paths(outliers),
            f"{_named(outliers, audit)}: {count} of {of} filters have a weight of {_span_of_most(outliers)} times "
            "their rms, which sets their scale.",
            'Round by calibration data ("data", "follow"), keep these layers in float (`max_kept`), or train with a '
            "penalty on the kurtosis of the filters.",
        )
    if rest:
        yield Finding(
            "coarse weights",
            _paths(rest),
            f"{_named(rest, audit)}: no weight stands out; {audit.bits} bits are too coarse for what the outputs make "
            f"of the error ({_span([layer.alone_db for layer in rest])} dB alone).",
            'Round by calibration data ("data", "follow"), or keep these layers in float (`max_kept`).',
        )


def _activations(audit, tensors):
    outliers = [tensor for tensor in tensors if tensor.max_over_rms >= ACTIVATION_OUTLIER]
    uneven = [tensor for tensor in tensors if tensor not in outliers and tensor.channel_spread >= UNEVEN]
    rest = [tensor for tensor in tensors if tensor not in outliers and tensor not in uneven]
    if outliers:
        yield Finding(
            "activation outliers",
            _paths(outliers),
            f"{_named(outliers, audit, 'tensors')}: the largest activation is "
            f"{_span([tensor.max_over_rms for tensor in outliers])} times the rms, and sets the step for all.",
            "A bounded activation (ReLU6) in training, or the layers that read them in float (`max_kept`). To cut the "
            "range costs more than it gains where an identity hands the large ones on.",
        )
    if uneven:
        yield Finding(
            "uneven channels",
            _paths(uneven),
            f"{_named(uneven, audit, 'tensors')}: the largest channel reaches "
            f"{_span([tensor.channel_spread for tensor in uneven])} times as far as the median one; all have one step.",
            'Scale the channels between the layers ("equalize_activations").',
        )
    if rest:
        yield Finding(
            "activation range",
            _paths(rest),
            f"{_named(rest, audit, 'tensors')}: {audit.activation_bits} bits of activations cost more than their "
            f"share, {_span([tensor.alone_db for tensor in rest])} dB alone; all of them {audit.activations_db:.1f}.",
            "Nothing stands out that could be cured; layers in float (`max_kept`) or 16 bits of activations help.",
        )


def _always(audit):
    """What is so whether or not the network survives."""
    dead = [tensor for tensor in audit.tensors if tensor.dead_channels and tensor.path]
    if dead:
        count = sum(tensor.dead_channels for tensor in dead)
        yield Finding(
            "dead channels",
            _paths(dead),
            f"{_named(dead, audit, 'tensors')}: {count} of {sum(tensor.channels for tensor in dead)} channels give the "
            "same number for every image.",
            "Integers do not suffer from them; they cost time and memory, and could be removed.",
        )
    if audit.left:
        yield Finding(
            "not quantized",
            tuple(audit.left),
            f"{len(audit.left)} layers stay as they are ({by_reason(audit.left)}).",
            "Fold the model first, or build these layers of convolutions and dense layers.",
        )


def _mends(trials, target):
    if not trials:
        return
    first = trials[0].db
    for trial in trials[1:]:
        mark = " (enough)" if trial.db >= target else ""
        numbers = f"{db_number(first)} -> {db_number(trial.db)} dB, weights alone {db_number(trial.weights_db)}"
        yield f"{', '.join(trial.cures)}: {numbers}{mark}"


def _paths(records):
    return tuple(record.path for record in records)


def _named(records, audit, what="layers"):
    """`layers a, b, c and 7 more (10 of 14)`, the worst first."""
    all_of = audit.layers if what == "layers" else audit.tensors
    names = [record.path or "the image" for record in records]
    return f"{what} {listed(names)} ({len(names)} of {len(all_of)})"


def _span(values, digits=0):
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _span_of_most(layers):
    return _span([layer.max_over_rms_most for layer in layers])
