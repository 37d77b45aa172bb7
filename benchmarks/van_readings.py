"""What a VAN's text may mean, and when its skips are gone then: eq. 7 and 8 alone, without a network.

Monti, Tootoonian & Cao say that the skips of VAN-26 are gone "at approximately the 120th iteration" (Fig. 2, whose
training lasts 165 epochs). A reading is one way to carry out eq. 7 and 8; `simulate` runs the two equations, with the
gradient of the cost by alpha as it was measured in a network, or without it.
"""

import dataclasses
import math

import numpy as np

GONE = 1e-3  # of the mean residual
CLAIM = (100, 140)  # "approximately the 120th iteration"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A training of the paper.

    Attributes:
        rate: eta at the start.
        fraction: eta' / eta.
        steps_per_epoch, epochs, batch_size: int.
        decay_epochs: epochs at which eta falls to a tenth.
        momentum: of the weights.
    """

    rate: float
    fraction: float
    steps_per_epoch: int
    epochs: int
    batch_size: int = 128
    decay_epochs: tuple = ()
    momentum: float = 0.9

    def rate_at(self, epoch):
        """eta in an epoch, counted from 0."""
        return self.rate * 0.1 ** sum(epoch >= end for end in self.decay_epochs)


DENSE = Setting(rate=0.001, fraction=0.5, steps_per_epoch=468, epochs=50)  # section 4.1, MNIST
CONV = Setting(rate=0.1, fraction=0.1, steps_per_epoch=390, epochs=165, decay_epochs=(82, 125))  # 4.2, CIFAR


@dataclasses.dataclass(frozen=True)
class Reading:
    """One way to carry out eq. 7 and 8.

    Attributes:
        start: lambda's.
        has_momentum: whether alpha moves with the weights' momentum, or by eq. 7 as it stands.
        per_layer: whether a layer has one alpha, whose gradient is the sum of the units'.
        summed_loss: whether the cost is a sum over the batch, not a mean.
        twice: whether dL/dalpha in eq. 7 holds lambda, which is added once more.
        averaged: whether the constraint's term is a mean over all units, not a sum.
        alpha_rate: eta of eq. 7 where it is not the weights'.
        alpha_decays: whether that rate falls where the weights' does.
        fraction: eta' / eta where it is not the setting's.
        alpha_each, multiplier_each: "step" or "epoch", how often alpha and lambda move.
        linear_end: share of the training at whose end alpha is 1, rising linearly: ours, not the paper's. None: eq. 7.
    """

    start: float = -1.0
    has_momentum: bool = True
    per_layer: bool = False
    summed_loss: bool = False
    twice: bool = False
    averaged: bool = False
    alpha_rate: float | None = None
    alpha_decays: bool = False
    fraction: float | None = None
    alpha_each: str = "step"
    multiplier_each: str = "step"
    linear_end: float | None = None


EPOCHS = {"alpha_each": "epoch", "multiplier_each": "epoch"}
READINGS = {
    "as it stands": Reading(),
    "no momentum on alpha": Reading(has_momentum=False),
    "lambda starts at 0": Reading(start=0.0),
    "lambda starts at 0, no momentum": Reading(start=0.0, has_momentum=False),
    "eta' = eta / 2, as in 4.1": Reading(fraction=0.5),
    "eta' = eta / 100": Reading(fraction=0.01),
    "eta' = eta / 100, lambda from 0, no momentum": Reading(fraction=0.01, start=0.0, has_momentum=False),
    "one alpha a layer": Reading(per_layer=True),
    "cost summed over the batch": Reading(summed_loss=True),
    "one alpha a layer, cost summed": Reading(per_layer=True, summed_loss=True),
    "eq. 7 with lambda twice": Reading(twice=True),
    "constraint averaged over units": Reading(averaged=True),
    "constraint averaged, no momentum": Reading(averaged=True, has_momentum=False),
    "eta of alpha 0.001, as in 4.1": Reading(alpha_rate=0.001),
    "eta of alpha 0.001, no momentum": Reading(alpha_rate=0.001, has_momentum=False),
    "updates once an epoch": Reading(**EPOCHS),
    "once an epoch, no momentum": Reading(has_momentum=False, **EPOCHS),
    "once an epoch, lambda from 0": Reading(start=0.0, **EPOCHS),
    "once an epoch, lambda from 0, no momentum": Reading(start=0.0, has_momentum=False, **EPOCHS),
    "once an epoch, eta of alpha 0.001": Reading(alpha_rate=0.001, **EPOCHS),
    "once an epoch, eta of alpha 0.001 falling as eta": Reading(alpha_rate=0.001, alpha_decays=True, **EPOCHS),
    "lambda once an epoch": Reading(multiplier_each="epoch"),
    "lambda once an epoch, from 0": Reading(start=0.0, multiplier_each="epoch"),
    "lambda once an epoch, one alpha a layer": Reading(multiplier_each="epoch", per_layer=True),
    "lambda once an epoch, cost summed": Reading(multiplier_each="epoch", summed_loss=True),
}


def layer_gradients(reading, gradients, batch_size):
    """dC/dalpha of a reading from that of the mean cost by the alpha of each unit: a list of arrays, a layer each."""
    found = [np.asarray(one, "float64") * (batch_size if reading.summed_loss else 1) for one in gradients]
    return [np.full(one.shape, one.sum()) for one in found] if reading.per_layer else found


def simulate(reading, setting, gradients, max_steps=None):
    """Run eq. 7 and 8 until the skips are gone.

    Args:
        reading: `Reading`.
        setting: `Setting`.
        gradients: list of arrays, dC/dalpha of the mean cost of the units of each layer, taken for constant; zeros for
            the multipliers alone.
        max_steps: int; None is the whole training.

    Returns: array, the mean residual `mean_l mean_i (1 - alpha)^2` after each step, from 0 (1.0) to where it falls
        below `GONE`.
    """
    parts = layer_gradients(reading, gradients, setting.batch_size)
    gradient = np.concatenate(parts)
    # Mean over layers of the mean over units.
    weights = np.concatenate([np.full(len(one), 1 / (len(one) * len(parts))) for one in parts])
    share = 1 / len(gradient) if reading.averaged else 1.0
    alpha, velocity = np.zeros_like(gradient), np.zeros_like(gradient)
    multiplier = np.full_like(gradient, reading.start)
    momentum = setting.momentum if reading.has_momentum else 0.0
    fraction = setting.fraction if reading.fraction is None else reading.fraction
    residuals = [1.0]
    for step in range(max_steps or setting.epochs * setting.steps_per_epoch):
        epoch, is_end = step // setting.steps_per_epoch, (step + 1) % setting.steps_per_epoch == 0
        rate = setting.rate_at(epoch)
        alpha_rate = (reading.alpha_rate or rate) * (rate / setting.rate if reading.alpha_decays else 1)
        if reading.alpha_each == "step" or is_end:
            pull = gradient + (2 if reading.twice else 1) * share * multiplier
            velocity = momentum * velocity - alpha_rate * pull
            alpha = np.clip(alpha + velocity, 0.0, 1.0)
        if reading.multiplier_each == "step" or is_end:
            multiplier = multiplier + fraction * alpha_rate * (alpha - 1.0)
        residuals.append(float(weights @ np.square(1.0 - alpha)))
        if residuals[-1] < GONE:
            break
    return np.array(residuals)


def gone_step(residuals):
    """The first step after which the mean residual is below `GONE`; None if it never is."""
    return len(residuals) - 1 if residuals[-1] < GONE else None


def describe(step, setting):
    """When the skips are gone, in words, and whether that is the paper's "120th iteration" of some unit."""
    if step is None:
        return f"not in {setting.epochs} epochs", ""
    epochs = step / setting.steps_per_epoch
    units = [name for name, count in (("steps", step), ("epochs", epochs)) if CLAIM[0] <= count <= CLAIM[1]]
    return f"step {step:,} (epoch {epochs:.3g})", ", ".join(units)


def closed_form(setting, start=-1.0):
    """Steps until alpha is 1 without momentum and without a gradient of the cost.

    Eq. 7 and 8 are then an oscillator: `u = 1 - alpha` has `u'' = -eta eta' u`, `u = 1` and `u' = eta start` at first,
    so `u = cos(w t) + eta start / w sin(w t)` with `w = sqrt(eta eta')`, which is 0 at `tan(w t) = w / (-eta start)`.
    """
    frequency = setting.rate * math.sqrt(setting.fraction)
    if start == 0:
        return math.pi / 2 / frequency
    return math.atan(frequency / (-setting.rate * start)) / frequency
