"""`IdentityPhaseOut`: the callback that takes the identity of Dirac filters out by multipliers, as a VAN its skips."""

import logging
import math

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.listing import listed
from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out.identity import find_identities, learned_size, mean_ratio, require_identities
from dirac_keras.phase_out.residual import TOLERANCE, check_number

logger = logging.getLogger("dirac_keras")


class IdentityPhaseOut(keras.callbacks.Callback):
    """Takes the identity of Dirac filters out while they train, by multipliers of the constraint `a = 0`.

    It is `SkipPhaseOut` for networks whose skips lie in the weights: `1 - alpha` of the paper is `a`, and its lambda
    is negated here, so that it is 0 or more. Each step moves the weights by the gradients of the cost, and `a` by that
    of `lambda^T a` too (eq. 7), takes what fell below 0 for 0, and then adds `eta' a` to lambda (eq. 8), eta' being a
    fraction of the step's learning rate. All of it is in the compiled step, and lambda is a weight of the layers, so a
    resumed run continues where it stopped. At the end `a` becomes exactly 0 in the layers where all of it is within the
    tolerance; `fold` makes ordinary kernels of them.

    With the paper's values the identity is gone after a few steps. What a longer phase-out takes depends on the number
    of its steps T: lambda grows by `eta' a` a step, and a falls by `eta lambda / (1 - momentum)`, so the fraction that
    takes T steps is in proportion to 1 / T^2 (docs/diracnets.md).

    The logs of each epoch get `identity_ratio`, the mean over all filters of `|a| / |b|`, and `identity_multiplier`,
    the mean of lambda. List the callbacks that write logs behind it.

    Args:
        fraction: number of 0 or more, eta' / eta. The paper's for convolutional networks: 0.1.
        start_epoch: number of 0 or more, epochs before the phase-out; fractions are allowed. Epochs are counted in
            steps of the optimizer.
        multiplier: number of 0 or more, lambda when the phase-out begins. The paper's: 1.
        seal: bool, whether a becomes exactly 0 at the end.
        tolerance: number of 0 or more, the largest `|a| / |b|` that is taken for gone.

    Raises: ValueError: if an argument is out of range, and from `fit` if the model has no trainable Dirac layer with
        `use_identity_multiplier=True`, the training is over before the phase-out begins, its length in steps is
        unknown, the optimizer averages weights, or gradients are accumulated over batches.
    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", eq. 6 to 8; the filters are those of Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5.
    """

    def __init__(self, fraction=FRACTIONS["conv"], start_epoch=0, multiplier=1.0, seal=True, tolerance=TOLERANCE):
        super().__init__()
        arguments = {
            "fraction": fraction,
            "start_epoch": start_epoch,
            "multiplier": multiplier,
            "tolerance": tolerance,
        }
        for name, value in arguments.items():
            check_number(name, value)
        self.fraction = fraction
        self.start_epoch = start_epoch
        self.multiplier = multiplier
        self.seal = seal
        self.tolerance = tolerance

    def on_train_begin(self, logs=None):
        layers = _require_multipliers(self.model)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
        if optimizer.use_ema:
            raise UserError("An average of scales that fall is never 0. Received an optimizer with use_ema=True.")
        if optimizer.gradient_accumulation_steps:
            raise UserError(
                "The multipliers move once a batch, so gradients cannot be accumulated over batches. Received "
                f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}."
            )
        start_step = self._start_step()
        self._own = [(layer, layer.identity_scale.constraint, layer.identity_multiplier.constraint) for layer in layers]
        for layer, constraint, _ in self._own:
            layer.identity_scale.constraint = _NotNegative(optimizer, start_step, constraint)
            layer.identity_multiplier.constraint = _Ascent(layer, optimizer, self.fraction, start_step, self.multiplier)
            has_begun = int(ops.convert_to_numpy(optimizer.iterations)) >= start_step
            if has_begun and not np.any(ops.convert_to_numpy(layer.identity_multiplier)):
                _start(layer, self.multiplier)  # later, the step before the first does so
        self.model.make_train_function(force=True)  # one traced before knows neither

    def _start_step(self):
        epochs, steps_per_epoch = self.params["epochs"], self.params["steps"]
        if self.start_epoch >= epochs:
            raise UserError(
                "The phase-out must begin before the training ends. "
                f"Received start_epoch={self.start_epoch} and epochs={epochs}."
            )
        if self.start_epoch and steps_per_epoch is None:
            raise UserError(
                "start_epoch needs a known number of steps. Received a data set of unknown length; "
                "give fit(steps_per_epoch=...)."
            )
        return math.ceil(self.start_epoch * (steps_per_epoch or 0))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            layers = _require_multipliers(self.model)  # on JAX `self.model` is up to date
            logs["identity_ratio"] = mean_ratio(layers)
            multipliers = [ops.convert_to_numpy(layer.identity_multiplier) for layer in layers]
            logs["identity_multiplier"] = float(np.mean(np.concatenate(multipliers), dtype="float64"))

    def on_train_end(self, logs=None):
        for layer, *constraints in self._own:
            layer.identity_scale.constraint, layer.identity_multiplier.constraint = constraints
        self.model.make_train_function(force=True)
        if not self.seal:
            return
        layers = [layer for layer, *_ in self._own]
        still_there = [layer for layer in layers if largest_ratio(layer) > self.tolerance]
        for layer in layers:
            if layer not in still_there:
                _seal(layer)
        if still_there:
            logger.warning(
                "the constraint a = 0 is not met: %d of %d identities of '%s' are still there and were not sealed: %s. "
                "Train longer, or with a larger fraction (%g now).",
                len(still_there),
                len(layers),
                self.model.name,
                _describe(still_there),
                self.fraction,
            )


class _NotNegative(keras.constraints.Constraint):
    """Holds `a >= 0` once the phase-out has begun, as alpha of a VAN is 1 at most; part of no file."""

    def __init__(self, optimizer, start_step, own):
        self.optimizer, self.start_step, self.own = optimizer, start_step, own

    def __call__(self, scale):
        scale = ops.convert_to_tensor(scale if self.own is None else self.own(scale))
        has_begun = ops.convert_to_tensor(self.optimizer.iterations) >= self.start_step
        return ops.where(has_begun, ops.maximum(scale, 0.0), scale)


class _Ascent(keras.constraints.Constraint):
    """Eq. 8 of a layer's multipliers; part of no file.

    Keras applies constraints inside the optimizer's step, when all weights have moved, in the order in which layers
    made them: `a`, the older one, is that of this step, clipped. Rate and step count are read there as they are.
    """

    def __init__(self, layer, optimizer, fraction, start_step, multiplier):
        self.layer, self.optimizer, self.fraction = layer, optimizer, fraction
        self.start_step, self.multiplier = start_step, multiplier

    def __call__(self, multiplier):
        multiplier = ops.convert_to_tensor(multiplier)
        step = ops.cast(ops.convert_to_tensor(self.optimizer.iterations), "int32")
        rate = ops.cast(ops.convert_to_tensor(self.optimizer.learning_rate), multiplier.dtype)
        scale = ops.cast(ops.convert_to_tensor(self.layer.identity_scale), multiplier.dtype)
        moved = ops.where(step >= self.start_step, multiplier + self.fraction * rate * scale, multiplier)
        return ops.where(step + 1 == self.start_step, ops.full_like(moved, self.multiplier), moved)


def seal_identities(model, tolerance=TOLERANCE):
    """Set `a` to exactly 0 in every Dirac layer.

    Args:
        model: `keras.Model`, changed in place.
        tolerance: number of 0 or more, the largest `|a| / |b|` of a filter that may be dropped.

    Raises: ValueError: if the model has no Dirac layer with an `identity_scale`, or one has a larger ratio; nothing is
        changed then.
    """
    check_number("tolerance", tolerance)
    layers = find_identities(model)
    if not layers:
        raise UserError(
            f"The model must have a Dirac layer with an identity_scale. Received '{model.name}', which has none."
        )
    still_there = [layer for layer in layers if largest_ratio(layer) > tolerance]
    if still_there:
        raise UserError(
            f"The identities must be gone before they are sealed: |a| / |b| at most {tolerance:g}. "
            f"Received '{model.name}' with {_describe(still_there)}; train on, or give a larger tolerance."
        )
    for layer in layers:
        _seal(layer)


def largest_ratio(layer):
    """The largest `|a| / |b|` of a layer's filters; infinite where a filter is zeros beside an identity."""
    identity = np.abs(ops.convert_to_numpy(layer.identity_scale).astype("float64"))
    learned = ops.convert_to_numpy(learned_size(layer)).astype("float64")
    ratios = np.full(identity.shape, np.inf)
    np.divide(identity, learned, out=ratios, where=learned > 0)
    return float(np.max(np.where(identity == 0, 0.0, ratios)))


def _seal(layer):
    layer.identity_scale.assign(np.zeros(layer.identity_scale.shape, "float32"))


def _start(layer, multiplier):
    layer.identity_multiplier.assign(np.full(layer.identity_multiplier.shape, multiplier))


def _require_multipliers(model):
    layers = [layer for layer in require_identities(model) if getattr(layer, "identity_multiplier", None) is not None]
    if not layers:
        raise UserError(
            "The Dirac layers must have use_identity_multiplier=True, whose weight holds lambda. "
            f"Received '{model.name}', which has none."
        )
    return layers


def _describe(layers, most=5):
    parts = [f"'{layer.name}' (|a| / |b| up to {largest_ratio(layer):.3g})" for layer in layers]
    return listed(parts, most)
