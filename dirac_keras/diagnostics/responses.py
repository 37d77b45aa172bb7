"""The responses of a layer's units over the data, as the matrix that shows whether the units differ."""

from dataclasses import dataclass, field

import numpy as np

from dirac_keras.diagnostics.data import BATCH_SIZE, batches
from dirac_keras.diagnostics.taps import Network, unchanged
from dirac_keras.errors import UserError
from dirac_keras.listing import listed


@dataclass(frozen=True, eq=False)
class Responses:
    """Responses of the units of one layer.

    Attributes:
        layer: name, as in `Diagnosis`.
        matrix: array `(units, samples)`, float32, the samples sorted by class if the data have labels; a
            convolution's response is its mean over the positions.
        labels: array `(samples,)` or None.
        units_sampled, samples_sampled: whether it is a random part.
    """

    layer: str
    matrix: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    units_sampled: bool
    samples_sampled: bool


def collect_responses(model, data, layers, max_samples=2000, max_units=512, batch_size=BATCH_SIZE, seed=0):
    """What the units of some layers respond to the data; the network is run up to the last of them only.

    Args:
        model: Functional or built Sequential `keras.Model`.
        data: as `measure` takes them; labels are class numbers, `(batch,)` or `(batch, 1)`, if there are any.
        layers: list of names as in `Diagnosis`; an int `k` is the k-th layer with a kernel, from 1.
        max_samples: int, of more a random part with fixed seed is taken, the same for all layers.
        max_units: int, of more units likewise.
        batch_size: int, of arrays.
        seed: of both.

    Returns: list of `Responses`. A response that is no number stays in the matrix.
    Raises: ValueError: if a layer is unknown, or as `measure`.
    Source: Oyedotun et al., Fig. 6 to 8.
    """
    for name, value in (("max_samples", max_samples), ("max_units", max_units)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number above 0. Received {name}={value!r}.")
    network = Network(model)
    taps = [_tap(network, layer) for layer in ([layers] if isinstance(layers, (str, int)) else layers)]
    if not taps:
        raise UserError("layers must name at least one layer. Received none.")
    last = max(taps, key=network.taps.index)
    random = np.random.default_rng(seed)
    units = {tap.name: np.sort(random.choice(tap.units, min(tap.units, max_units), replace=False)) for tap in taps}
    parts = _Parts(max_samples, random)
    with unchanged(network):
        for inputs, labels in batches(model, data, batch_size):
            found = {}

            def visit(tap, response, found=found):
                if tap.name in units:
                    found[tap.name] = tap.matrix(response).mean(axis=1, dtype="float64")[:, units[tap.name]]

            network.run(inputs, visit, until=last)
            parts.add(found, None if labels is None else labels.reshape(len(labels), -1)[:, 0])
    matrices, labels = parts.result()
    return [
        Responses(
            layer=tap.name,
            matrix=matrices[tap.name].T,
            labels=labels,
            units_sampled=tap.units > max_units,
            samples_sampled=parts.seen > max_samples,
        )
        for tap in taps
    ]


class _Parts:
    """The samples with the smallest of random keys, which is a random part of any stream."""

    def __init__(self, max_samples, random):
        self.seen = 0
        self._max_samples = max_samples
        self._random = random
        self._rows, self._labels, self._keys, self._order = {}, None, np.zeros(0), np.zeros(0, int)

    def add(self, found, labels):
        count = len(next(iter(found.values())))
        keys = np.concatenate([self._keys, self._random.random(count)])
        order = np.concatenate([self._order, np.arange(self.seen, self.seen + count)])
        kept = np.sort(np.argsort(keys)[: self._max_samples])
        self._rows = {
            name: np.concatenate([*([self._rows[name]] if self.seen else []), rows.astype("float32")])[kept]
            for name, rows in found.items()
        }
        if labels is not None:
            self._labels = np.concatenate([*([self._labels] if self.seen else []), labels])[kept]
        self._keys, self._order = keys[kept], order[kept]
        self.seen += count

    def result(self):
        if self._labels is None:
            return self._rows, None
        by_class = np.argsort(self._labels, kind="stable")
        return {name: rows[by_class] for name, rows in self._rows.items()}, self._labels[by_class]


def _tap(network, layer):
    names = [tap.name for tap in network.taps]
    if isinstance(layer, int) and not isinstance(layer, bool) and 1 <= layer <= len(names):
        return network.taps[layer - 1]
    if layer not in names:
        known = listed(names, 5)
        raise UserError(f"layers must be from 1 to {len(names)} or names such as {known}. Received {layer!r}.")
    return network.taps[names.index(layer)]
