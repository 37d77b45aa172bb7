"""A learning rate from a short training in which it rises: the range test."""

import dataclasses
import itertools
import math

import keras
import numpy as np

from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.class_weights import weights_of
from dirac_keras.training.freezing import freeze
from dirac_keras.training.limits import check_size
from dirac_keras.training.starting import begin, check_start

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
SMOOTHING = 0.9  # of what the losses before say of the loss of a step
DIVERGED = 4.0  # times the smallest loss: the rates beyond have nothing to say
LEAST_STEPS = 10


@dataclasses.dataclass(frozen=True)
class RateTest:
    """What a range test has found.

    Attributes:
        rates: list of float, the learning rate of each step.
        losses: list of float, the loss of its batch, before the step.
        smoothed: list of float, the losses averaged over the steps before.
        suggestion: float, a peak for the schedule; None if the loss never fell.
        learning_rate: float, the `learning_rate` of a `TrainConfig` that has this peak: another number where it is
            scaled to the batch size. None likewise.
        has_diverged: bool, whether the test ended early.
    """

    rates: list
    losses: list
    smoothed: list
    suggestion: float | None
    learning_rate: float | None
    has_diverged: bool


def find_learning_rate(config, splits, lowest=LOWEST, highest=HIGHEST, steps=STEPS, on_step=None):
    """Train with a rate that rises from step to step by the same factor, and see where the loss falls.

    It begins as the training of the config begins, with its optimizer, loss, weight decay, augmentation and batches;
    the schedule alone is another. Skips are not phased out. Nothing is written.

    Args:
        config: `TrainConfig`.
        splits: data, see `train`.
        lowest, highest: numbers, the first and the last rate.
        steps: int, how many; the test ends before if the loss is `DIVERGED` times the smallest.
        on_step: function of (finished steps, steps), or None.

    Returns: `RateTest`.
    Raises: UserError: if an argument is out of range.
    Source: Smith 2017, arXiv:1506.01186, section 3.3; the suggestion is fastai's "valley", see `valley`.
    """
    if not 0 < lowest < highest or not math.isfinite(highest):
        raise UserError(f"lowest must be above 0 and below highest. Received lowest={lowest:g}, highest={highest:g}.")
    if steps < LEAST_STEPS:
        raise UserError(f"steps must be {LEAST_STEPS} or more. Received steps={steps}.")
    if config.accumulate_steps > 1:
        raise UserError(
            f"accumulate_steps must be 1 here, where each batch has its rate. Received "
            f"accumulate_steps={config.accumulate_steps}: give `batch_size` as large as an update's."
        )
    check_start(config)
    check_size(config, splits.spec)
    model = _model(config, splits, lowest, highest, steps)
    factor = (highest / lowest) ** (1 / (steps - 1))
    rates, losses, smoothed, average = [], [], [], 0.0
    has_diverged = False
    for step, (images, labels) in enumerate(itertools.islice(splits.train(start_step=0), steps)):
        model.reset_metrics()
        loss = float(model.train_on_batch(images, labels, return_dict=True)["loss"])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        now = average / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(loss) or (step >= LEAST_STEPS and now > DIVERGED * min(smoothed)):
            has_diverged = True
            break
        rates.append(lowest * factor**step)
        losses.append(loss)
        smoothed.append(now)
        if on_step is not None:
            on_step(step + 1, steps)
    place = valley(smoothed)
    suggestion = None if place is None else rates[place]
    scale = config.peak_learning_rate / config.learning_rate
    learning_rate = None if suggestion is None else suggestion / scale
    return RateTest(rates, losses, smoothed, suggestion, learning_rate, has_diverged)


def _model(config, splits, lowest, highest, steps):
    policy = Placement("one").resolve_precision(config.precision)[0]
    model = untrained_model(config, splits.spec, policy)
    begin(model, config, splits)
    freeze(model, config)
    schedule = keras.optimizers.schedules.ExponentialDecay(lowest, steps - 1, highest / lowest)
    compile_model(model, config, splits.steps_per_epoch, splits.spec, weights_of(config, splits), schedule)
    return model


def valley(losses):
    """Where to take a rate from losses over rising rates: halfway down the longest fall.

    The longest run of ever smaller losses, others between them left out, is found; of the middle third of it the middle
    is taken.

    Args:
        losses: sequence of float.

    Returns: int, the position; None if no loss is below an earlier one.
    Source: fastai's `valley`, https://docs.fast.ai/callback.schedule.html.
    """
    losses = np.asarray(losses, "float64")
    lengths, before = [], []  # of the longest fall that ends at each, and the position before it
    for index, loss in enumerate(losses):
        longer = [j for j in range(index) if losses[j] > loss]
        previous = max(longer, key=lambda j: lengths[j], default=None)
        lengths.append(1 if previous is None else lengths[previous] + 1)
        before.append(previous)
    if not lengths or max(lengths) == 1:
        return None
    end = int(np.argmax(lengths))
    start = end
    while before[start] is not None:
        start = before[start]
    return start + (end - start) // 2
