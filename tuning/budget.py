"""What a network costs when it is deployed, and the limits a search keeps to."""

import dataclasses
import math
import statistics
import time

import keras

from dirac_keras.errors import UserError
from dirac_keras.folding import fold
from dirac_keras.graph.casting import to_float32
from dirac_keras.graph.nested import all_layers
from dirac_keras.layers import VariableSkip
from dirac_keras.models.family import find_family
from dirac_keras.phase_out.residual import seal
from dirac_keras.training import untrained_model
from dirac_keras.training.limits import check_size

LATENCY_CALLS, LATENCY_REPEATS = 15, 3
TOO_LARGE = 10**15  # parameters and multiply-accumulates of a network that is not built: over every limit


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of the folded network.

    Attributes:
        parameters: int.
        macs: int, multiply-accumulates of one image.
        latency_ms: float, time of a batch on this machine, see `measure_latency`; None if it was not measured.
    """

    parameters: int
    macs: int
    latency_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits on the `Cost` of a candidate, each None for no limit.

    Attributes:
        max_params, max_macs, max_latency_ms: numbers, above 0.
        latency_batch: int, images in the batch whose latency is measured.

    Raises: ValueError: if one is not above 0.
    """

    max_params: float | None = None
    max_macs: float | None = None
    max_latency_ms: float | None = None
    latency_batch: int = 1

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not value > 0:
                raise UserError(f"{name} must be above 0. Received {name}={value!r}.")
            if value == math.inf:
                raise UserError(f"{name} must be finite. Received {name}={value!r}: leave it out for no limit.")

    @property
    def is_limited(self):
        return any(limit is not None for limit in (self.max_params, self.max_macs, self.max_latency_ms))

    def exceeded(self, cost):
        """What of a `Cost` is over its limit, in words; an empty text if nothing is."""
        over = []
        if self.max_params is not None and cost.parameters > self.max_params:
            over.append(f"{cost.parameters:,} parameters, over {self.max_params:,.0f}")
        if self.max_macs is not None and cost.macs > self.max_macs:
            over.append(f"{cost.macs:,} multiply-accumulates, over {self.max_macs:,.0f}")
        if self.max_latency_ms is not None and cost.latency_ms > self.max_latency_ms:
            over.append(f"{cost.latency_ms:.2f} ms, over {self.max_latency_ms:g}")
        return "; ".join(over)


class CostMeter:
    """Costs of networks, each structure measured once.

    Args:
        spec: data spec of the images.
        with_latency: bool, whether to time the folded network.
        batch: int, images in the timed batch.
        max_gigabytes: number, memory that a network may take by an estimate; None: that of this machine. A larger one
            is not built, and is over every limit.
    """

    def __init__(self, spec, with_latency=True, batch=1, max_gigabytes=None):
        self.spec, self.max_gigabytes = spec, max_gigabytes
        self.with_latency = with_latency
        self.batch = batch
        self.known = {}  # structure -> Cost

    def of(self, config):
        """The `Cost` of the network of a `TrainConfig`, a VAN's with its skips gone."""
        key = structure(config)
        if key not in self.known:
            self.known[key] = self._measure(config)
        return self.known[key]

    def _measure(self, config):
        try:
            check_size(config, self.spec, self.max_gigabytes)
        except UserError:
            return Cost(TOO_LARGE, TOO_LARGE, float(TOO_LARGE))
        model = untrained_model(config, self.spec, "float32")
        _seal(model)
        return self.of_folded(*fold(model, verify=False))

    def of_trained(self, config, folded, report):
        """The `Cost` of a network that was trained and folded; measured anew only if the structure is not known."""
        key = structure(config)
        if key not in self.known:
            self.known[key] = self.of_folded(folded, report)
        return self.known[key]

    def of_folded(self, folded, report):
        """The `Cost` of what `fold` gave."""
        latency = measure_latency(to_float32(folded), self.batch) if self.with_latency else None
        return Cost(report.parameters_after, report.macs_after, latency)


def structure(config):
    """What decides the cost of a config's network: its fields of the model, as a text."""
    model_fields = [option.name for option in dataclasses.fields(config) if option.metadata["group"] == "Model"]
    without_effect = ("kernel_initializer", "filter_scale", "gate_bias")
    return " ".join(f"{name}={getattr(config, name)}" for name in model_fields if name not in without_effect)


def measure_latency(model, batch):
    """Milliseconds of one batch of images through a model: the smallest of three medians of 15, after warming up."""
    shape = (batch, *model.input_shape[1:])
    images = keras.ops.convert_to_tensor(keras.random.normal(shape, seed=0))
    model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
    for _ in range(3):
        model.predict_on_batch(images)
    medians = []
    for _ in range(LATENCY_REPEATS):
        seconds = []
        for _ in range(LATENCY_CALLS):
            start = time.perf_counter()
            model.predict_on_batch(images)
            seconds.append(time.perf_counter() - start)
        medians.append(statistics.median(seconds))
    return 1e3 * min(medians)  # other work on the machine only ever adds


def _seal(model):
    """Take the skip connections away that training would, so that `fold` removes them."""
    for layer in all_layers(model):
        if isinstance(layer, VariableSkip) and layer.constrained:
            seal(layer)


def smallest_candidates(space, meter, epochs):
    """`(TrainConfig, Cost)` of each family's smallest network, the one with the fewest parameters first."""
    configs = [space.config(space.smallest(family), epochs) for family in space.families]
    found = [(config, meter.of(config)) for config in configs]
    return sorted(found, key=lambda pair: pair[1].parameters)


def check_sizes(space, budget, epochs, spec=None, max_gigabytes=None):
    """Raise ValueError if a candidate would be far too large to be built; with a budget, if the smallest would be."""
    for family in space.families:
        values = space.smallest(family) if budget.is_limited else space.largest(family)
        config = space.config(values, epochs)
        check_size(config, spec, max_gigabytes)
        if budget.latency_batch > config.batch_size:
            try:
                check_size(dataclasses.replace(config, batch_size=budget.latency_batch), spec, max_gigabytes)
            except UserError as error:
                raise UserError(
                    f"latency_batch={budget.latency_batch:,} images do not fit the memory. Lower `latency_batch`, or "
                    "give more with `max_gigabytes`."
                ) from error


def check_that_something_fits(space, meter, budget, epochs):
    """Raise ValueError, with its cost, if the smallest candidate of every family is over the budget, or see
    `check_sizes`.
    """
    check_sizes(space, budget, epochs, meter.spec, meter.max_gigabytes)
    if not budget.is_limited:
        return
    found = smallest_candidates(space, meter, epochs)
    if all(budget.exceeded(cost) for _, cost in found):
        config, cost = found[0]
        size = find_family(config.family).layout(config.layout).size
        sizes = f"depth={config.depth}" + (f" and {size}={getattr(config, size):g}" if size else "")
        latency = "" if cost.latency_ms is None else f" and {cost.latency_ms:.2f} ms"
        raise UserError(
            f"No candidate meets the budget. The smallest, {config.family} with {sizes}, has "
            f"{cost.parameters:,} parameters, {cost.macs:,} multiply-accumulates{latency}: {budget.exceeded(cost)}."
        )
