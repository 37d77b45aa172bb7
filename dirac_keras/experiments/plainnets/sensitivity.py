"""Proposition 1 in numbers: how much a layer's solution moves when its input moves.

Eq. 7 to 10: W solves `Y = W X`. If X moves by dX, the solution moves by dW, and to first order
`|dW| / |W| <= kappa(X) |dX| / |X|`, with `kappa = sigma_max / sigma_min` and the spectral norm throughout.
"""

import dataclasses

import keras
import numpy as np

from dirac_keras.experiments.data import load
from dirac_keras.models import build_plainnet

CONDITION_NUMBERS = (1e0, 1e2, 1e4, 1e6, 1e8)
CHANGE = 1e-6  # |dX| / |X|
LAYERS = (1, 10, 25, 50, 99)
SCENARIOS = ("naive", "bn", "proposed")


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What a change of X did to the solution of `Y = W X`.

    Attributes:
        condition_number: kappa(X); infinite if the smallest singular value is rounding beside the largest.
        bound: `kappa |dX| / |X|`, the right side of eq. 10.
        random, worst: `|dW| / |W|` for a random dX, and for the one that eq. 9 meets with equality.
    """

    condition_number: float
    bound: float
    random: float
    worst: float


def sensitivity(weights, inputs, change, rng):
    """`Sensitivity` of one layer.

    Args:
        weights: array `(outputs, units)`, W.
        inputs: array `(units, samples)`, X, with at least as many samples as units; float64.
        change: number, `|dX| / |X|`.
        rng: `numpy.random.Generator`.
    """
    _, values, right = np.linalg.svd(inputs, full_matrices=False)
    size = change * values[0]
    noise = rng.normal(size=inputs.shape)
    random = noise * (size / np.linalg.norm(noise, 2))
    # dW = -W dX pinv(X): dX from the direction that W answers most to that of X's smallest singular value.
    strongest = np.linalg.svd(weights)[2][0]
    worst = size * np.outer(strongest, right[-1])
    is_singular = values[-1] <= values[0] * max(inputs.shape) * np.finfo("float64").eps
    kappa = np.inf if is_singular else values[0] / values[-1]
    return Sensitivity(
        condition_number=float(kappa),
        bound=float(kappa * change),
        random=_moved(weights, inputs, random),
        worst=_moved(weights, inputs, worst),
    )


def _moved(weights, inputs, change):
    """`|dW| / |W|` of the exact least-squares solution of `(W + dW) (X + dX) = W X`."""
    solution = np.linalg.lstsq((inputs + change).T, (weights @ inputs).T, rcond=0)[0].T
    return float(np.linalg.norm(solution - weights, 2) / np.linalg.norm(weights, 2))


def prescribed(condition_number, rng, units=50, samples=200):
    """A random matrix `(units, samples)` whose singular values fall evenly in their logarithm from 1."""
    left = np.linalg.qr(rng.normal(size=(units, units)))[0]
    right = np.linalg.qr(rng.normal(size=(samples, units)))[0]
    return left * np.geomspace(1, 1 / condition_number, units) @ right.T


def hidden_responses(scenario, images, layers=LAYERS, depth=100, units=300, seed=0):
    """Responses of layers of an untrained network, with the statistics of these images in its BatchNormalizations.

    Computed here, as Keras has float64 on TensorFlow alone: in float32 the small singular values are noise.

    Args:
        scenario: of `build_plainnet`.
        images: array `(samples, height, width, channels)`.
        layers: numbers of hidden layers, from 1.
        depth, units, seed: of the network.

    Returns: list of float64 arrays `(units, samples)`.
    """
    keras.utils.set_random_seed(seed)
    model = build_plainnet("dense", depth, units, input_shape=images.shape[1:], scenario=scenario)
    outputs, responses = np.reshape(images, (len(images), -1)).astype("float64"), {}
    for layer in model.layers[:-1]:  # without the classifier
        if layer.weights or hasattr(layer, "negative_slope"):  # not the input and its flattening
            outputs = _respond(layer, outputs)
        responses[layer.name] = outputs.T
    return [responses[f"dense{layer}_act"] for layer in layers]


def _respond(layer, inputs):
    """Outputs of a layer in training mode: `(samples, units)`, float64."""
    values = {weight.name: keras.ops.convert_to_numpy(weight).astype("float64") for weight in layer.weights}
    if isinstance(layer, keras.layers.BatchNormalization):
        normalized = (inputs - inputs.mean(axis=0)) / np.sqrt(inputs.var(axis=0) + layer.epsilon)
        return values["gamma"] * normalized + values["beta"]
    if isinstance(layer, keras.layers.Dense):
        return inputs @ values["kernel"] + values["bias"]
    return np.where(inputs > 0, inputs, layer.negative_slope * inputs)  # ReLU and LeakyReLU


def demonstrate(experiment, results, folder):
    """A report: eq. 10 on matrices of prescribed condition, and on the responses of untrained networks to digits."""
    splits = load(name="digits")
    rng = np.random.default_rng(0)
    lines = [f"Change of the input: |dX| / |X| = {CHANGE:g}. W has 50 outputs, N(0, 1).", "", *_head("X")]
    for kappa in CONDITION_NUMBERS:
        lines.append(_row("random matrix", sensitivity(rng.normal(size=(50, 50)), prescribed(kappa, rng), CHANGE, rng)))
    images = np.concatenate([np.asarray(batch) for batch, _ in splits.train_in_order()])
    lines += ["", f"Responses of untrained 100-layer networks of 300 units to {len(images)} digits.", "", *_head("H")]
    for scenario in SCENARIOS:
        for layer, responses in zip(LAYERS, hidden_responses(scenario, images), strict=True):
            found = sensitivity(rng.normal(size=(50, len(responses))), responses, CHANGE, rng)
            lines.append(_row(f"{scenario}, layer {layer}", found))
    return lines


def _head(what):
    return [f"| {what} | kappa | bound of eq. 10 | random dX | worst dX | worst / bound |", "|---|---|---|---|---|---|"]


def _row(name, found):
    share = found.worst / found.bound
    ratio = f"{share:.3f}" if found.bound < 0.1 else "not of first order"
    numbers = (found.condition_number, found.bound, found.random, found.worst)
    return f"| {name} | {' | '.join(f'{number:.2g}' for number in numbers)} | {ratio} |"
