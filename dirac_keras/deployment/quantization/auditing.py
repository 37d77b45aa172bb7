"""What integers would do to each layer and each tensor of a network, before anything is cured."""

import dataclasses
import math

import keras
import numpy as np

from dirac_keras.brief import brief
from dirac_keras.deployment.quantization.calibration import as_calibration_set
from dirac_keras.deployment.quantization.fake import fake_quantize, quantized_tensors
from dirac_keras.deployment.quantization.grids import (
    db_number,
    db_text,
    filter_scales,
    signal_to_noise_db,
    to_nearest,
    to_weights,
)
from dirac_keras.deployment.quantization.identity_apart import identity_ratios
from dirac_keras.deployment.quantization.network import Network, refuse_nonfinite
from dirac_keras.deployment.quantization.ordering import relu_before_pool
from dirac_keras.deployment.quantization.report import json_safe, table_lines
from dirac_keras.deployment.quantization.running import Tensors, most_images, run
from dirac_keras.deployment.quantization.simulation import Simulation

OUTLIER = 8.0  # max/rms of a filter: normal weights reach 4 to 5 in filters of some thousand taps
ALONE_IMAGES = 64  # on which each layer is rounded alone: one run of the network for each


@brief
@dataclasses.dataclass(frozen=True)
class LayerAudit:
    """A layer's kernel, rounded to the nearest integers with one scale a filter.

    Attributes:
        path, kind: str.
        parameters: int.
        low, high: floats, the least and the largest weight.
        max_over_rms, max_over_rms_most: floats, of the weights of a filter: median and largest over the filters. 2 to 4
            is usual.
        outlier_filters: int, filters whose max/rms is above `OUTLIER`, an identity tap not counted.
        kurtosis: float, median over the filters of the fourth moment over the squared variance; 3 for normal weights.
        identity_ratio: float, median over the filters that can hold one of the identity tap over the rms of the others;
            None where none can.
        filters, zero_filters: int; `zero_filters` have no weight but 0.
        weight_db: float, SQNR of the kernel.
        layer_db: float, SQNR of the layer's outputs with inputs as they were.
        accumulated_db: float, SQNR of the layer's outputs with all layers below rounded too.
        alone_db: float, SQNR of the network's outputs when this layer alone is rounded.
        noise_share: float, of what all layers add to the outputs, one by one; 0 to 1.
    """

    path: str
    kind: str
    parameters: int
    low: float
    high: float
    max_over_rms: float
    max_over_rms_most: float
    outlier_filters: int
    kurtosis: float
    identity_ratio: float | None
    filters: int
    zero_filters: int
    weight_db: float
    layer_db: float
    accumulated_db: float
    alone_db: float
    noise_share: float


@brief
@dataclasses.dataclass(frozen=True)
class TensorAudit:
    """A tensor of activations, rounded to 8 bits with one range.

    Attributes:
        path: str, of the layer or operation that gives it; `""` is the image.
        low, high: floats.
        max_over_rms: float.
        channel_spread: float, the largest range of a channel over the median; 1 where they are alike.
        dead_channels, channels: int; dead ones give the same number for every image at every position.
        tensor_db: float, SQNR of the tensor.
        alone_db: float, SQNR of the network's outputs when this tensor alone is rounded.
    """

    path: str
    low: float
    high: float
    max_over_rms: float
    channel_spread: float
    dead_channels: int
    channels: int
    tensor_db: float
    alone_db: float


@brief
@dataclasses.dataclass(frozen=True)
class QuantizationAudit:
    """A network as it would be without any cure.

    Attributes:
        model: str.
        bits, activation_bits: int.
        images, alone_images: int, images measured on; `alone_db` is of the first `alone_images`.
        layers: tuple of `LayerAudit`, in the order of computation.
        tensors: tuple of `TensorAudit`.
        left: dict, path -> why a layer with a kernel is not quantized.
        weights_db, activations_db, db: floats, SQNR of the outputs: kernels rounded, activations rounded, both.
    """

    model: str
    bits: int
    activation_bits: int
    images: int
    alone_images: int
    layers: tuple
    tensors: tuple
    left: dict
    weights_db: float
    activations_db: float
    db: float

    def to_dict(self):
        """JSON-safe dict; infinity becomes `"inf"`."""
        return json_safe(self)

    def rows(self):
        """The layers as dicts of texts, for a table."""
        return [
            {
                "layer": layer.path,
                "weights": f"{layer.low:.2g} to {layer.high:.2g}",
                "max/rms": f"{layer.max_over_rms:.1f}",
                "most": f"{layer.max_over_rms_most:.1f}",
                "kurtosis": f"{layer.kurtosis:.1f}",
                "identity": "" if layer.identity_ratio is None else f"{layer.identity_ratio:.1f}",
                "kernel dB": db_number(layer.weight_db),
                "layer dB": db_number(layer.layer_db),
                "so far dB": db_number(layer.accumulated_db),
                "alone dB": db_number(layer.alone_db),
                "of the noise": f"{layer.noise_share:.0%}",
            }
            for layer in self.layers
        ]

    def tensor_rows(self):
        """The tensors as dicts of texts, for a table."""
        return [
            {
                "tensor": tensor.path or "image",
                "range": f"{tensor.low:.3g} to {tensor.high:.3g}",
                "max/rms": f"{tensor.max_over_rms:.1f}",
                "channels' spread": f"{tensor.channel_spread:.1f}",
                "dead": f"{tensor.dead_channels}/{tensor.channels}",
                "tensor dB": db_number(tensor.tensor_db),
                "alone dB": db_number(tensor.alone_db),
            }
            for tensor in self.tensors
        ]

    def __str__(self):
        bits, activation_bits = f"int{self.bits}", f"int{self.activation_bits}"
        head = (
            f"{self.model}: {bits} weights to the nearest {db_text(self.weights_db)}, {activation_bits} activations "
            f"{db_text(self.activations_db)}, both {db_text(self.db, 'no noise')} at the outputs, on "
            f"{self.images:,} images"
        )
        left = [f"not quantized: {path}: {reason}" for path, reason in self.left.items()]
        return "\n".join([head, *table_lines(self.rows()), *table_lines(self.tensor_rows()), *left])


def audit(model, images, bits=8, activation_bits=8, seed=0):
    """Measure what integers do to each layer and each tensor of a network.

    Args:
        model: folded Functional or Sequential `keras.Model` of one input.
        images: array, or `CalibrationSet`.
        bits: int, of a weight.
        activation_bits: int, of an activation.
        seed: int, of the draw of images, where there are more than memory holds.

    Returns: `QuantizationAudit`.
    Raises: ValueError: if an argument does not fit.
    """
    refuse_nonfinite(model)
    calibration = as_calibration_set(images, model, seed)
    copy, _ = relu_before_pool(model)  # as `quantize` does first: the same numbers
    network = Network(copy, calibration.images.shape[1:])
    images = calibration.images[: most_images(network)]
    alone = images[:ALONE_IMAGES]
    reference, reference_alone = run(network, images), run(network, alone)
    simulation = Simulation(network, images, activation_bits)
    activations_db = simulation.db(reference, images)
    tensors = _tensors(network, simulation, images, alone, reference_alone)
    ratios = {path: identity_ratios(layer) for path, layer in network.layers.items()}
    kernels = {path: keras.ops.convert_to_numpy(layer.kernel) for path, layer in network.layers.items()}
    rounded = {path: _nearest(network.taps(path), kernel, bits) for path, kernel in kernels.items()}
    alone_db = {}
    for path, layer in network.layers.items():
        layer.kernel.assign(rounded[path])
        alone_db[path] = signal_to_noise_db(reference_alone, run(network, alone))
        layer.kernel.assign(kernels[path])
    local, so_far = _along(network, images, kernels, rounded)
    for path, layer in network.layers.items():
        layer.kernel.assign(rounded[path])
    noise = {path: 10 ** (-db / 10) for path, db in alone_db.items()}
    total = sum(noise.values()) or 1.0
    parameters = {path: sum(math.prod(w.shape) for w in layer.weights) for path, layer in network.layers.items()}
    return QuantizationAudit(
        model=model.name,
        bits=bits,
        activation_bits=activation_bits,
        images=len(images),
        alone_images=len(alone),
        layers=tuple(
            LayerAudit(
                path=path,
                kind=type(network.layers[path]).__name__,
                parameters=parameters[path],
                **_of_weights(network.taps(path), kernels[path], ratios[path]),
                weight_db=signal_to_noise_db(kernels[path], rounded[path]),
                layer_db=local[path],
                accumulated_db=so_far[path],
                alone_db=alone_db[path],
                noise_share=noise[path] / total,
            )
            for path in network.layers
        ),
        tensors=tensors,
        left=dict(network.left),
        weights_db=signal_to_noise_db(reference, run(network, images)),
        activations_db=activations_db,
        db=Simulation(network, images, activation_bits).db(reference, images),
    )


def _nearest(taps, kernel, bits):
    matrices = taps.matrices(kernel.astype("float64"))
    scales = [filter_scales(matrix, bits) for matrix in matrices]
    new = [to_weights(to_nearest(m, s, bits), s) for m, s in zip(matrices, scales, strict=True)]
    return taps.kernel(np.stack(new)).astype("float32")


def _of_weights(taps, kernel, ratios):
    matrices = taps.matrices(kernel.astype("float64"))
    filters = matrices.reshape(-1, matrices.shape[-1])
    largest = np.abs(filters).max(axis=1)
    rms = np.sqrt(np.mean(filters**2, axis=1))
    ratio = largest / np.maximum(rms, np.finfo("float64").tiny)
    others = ratio > OUTLIER
    if ratios is not None:
        centre = np.abs(np.diagonal(kernel[tuple(side // 2 for side in kernel.shape[:-2])]))
        others[: len(centre)] &= centre < largest[: len(centre)]  # the largest weight is no identity tap
    variance = np.var(filters, axis=1)
    alive = variance > 0
    fourth = np.mean((filters - filters.mean(axis=1, keepdims=True)) ** 4, axis=1)
    return {
        "low": float(filters.min()),
        "high": float(filters.max()),
        "max_over_rms": float(np.median(ratio)),
        "max_over_rms_most": float(ratio.max()),
        "outlier_filters": int(others.sum()),
        "kurtosis": float(np.median(fourth[alive] / variance[alive] ** 2)) if alive.any() else math.nan,
        "identity_ratio": None if ratios is None else float(np.median(ratios)),
        "filters": len(filters),
        "zero_filters": int((largest == 0).sum()),
    }


def _along(network, images, kernels, rounded):
    """`(layer_db, accumulated_db)`, dicts by path: with the inputs as they were, and as they become."""
    before, after = Tensors(network, images), Tensors(network, images)
    local, so_far = {}, {}
    for call in network.calls:
        path = call.path if network.layers.get(call.path) is call.operation else None
        outputs = before.outputs_of(call)
        if path is not None:
            call.operation.kernel.assign(rounded[path])
            local[path] = signal_to_noise_db(outputs[0], before.outputs_of(call)[0])
        changed = after.outputs_of(call)
        if path is not None:
            call.operation.kernel.assign(kernels[path])
            so_far[path] = signal_to_noise_db(outputs[0], changed[0])
        before.store(call, outputs)
        after.store(call, changed)
    return local, so_far


def _tensors(network, simulation, images, alone, reference):
    found = {}
    paths = quantized_tensors(network)

    def watch(tensor, values):
        if tensor in paths:
            low, high = simulation.ranges.limits[tensor]
            channels = values.reshape(-1, values.shape[-1])
            spread = channels.max(axis=0) - channels.min(axis=0)
            reach = np.maximum(channels.max(axis=0), 0) - np.minimum(channels.min(axis=0), 0)
            alive = reach[spread > 0]
            rms = math.sqrt(float(np.mean(np.square(values, dtype="float64"))))
            found[tensor] = {
                "path": paths[tensor],
                "low": low,
                "high": high,
                "max_over_rms": max(-low, high) / rms if rms else math.nan,
                "channel_spread": float(alive.max() / np.median(alive)) if len(alive) else math.nan,
                "dead_channels": int((spread == 0).sum()),
                "channels": len(spread),
                "tensor_db": signal_to_noise_db(values, fake_quantize(values, low, high, simulation.bits)),
            }
        return values

    run(network, images, watch)
    return tuple(
        TensorAudit(**record, alone_db=signal_to_noise_db(reference, simulation.outputs(alone, only=tensor)))
        for tensor, record in found.items()
    )
