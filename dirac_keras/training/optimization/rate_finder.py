"""A learning rate from a short training in which it rises: the range test."""

import dataclasses
import itertools
import math

import keras
import numpy as np

from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.training.building import compile_model, muon_ratio, untrained_model
from dirac_keras.training.limits import check_size
from dirac_keras.training.optimization.class_weights import weights_of
from dirac_keras.training.start.beginning import begin, check_start
from dirac_keras.training.start.freezing import freeze

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
MEMORY = 0.9  # of the running loss, by which divergence is judged: a single bad batch is none
LEAST_FALL = 1e-3  # of a loss without noise, as a share of it
WIDTH = 0.04  # standard deviation of the window of `smooth`, as a share of the steps
DIVERGED = 4.0  # times the smallest loss: the rates beyond have nothing to say
LEAST_STEPS = 10


@dataclasses.dataclass(frozen=True)
class RateTest:
    """What a range test has found.

    Attributes:
        rates: list of float, the learning rate of each step.
        losses: list of float, the loss of its batch, before the step.
        smoothed: list of float, the losses without the noise of single batches, see `smooth`.
        suggestion: float, a peak for the schedule; None if the loss never fell.
        learning_rate: float, the `learning_rate` of a `TrainConfig` that has this peak: another number where it is
            scaled to the batch size. None likewise.
        muon_learning_rate: float, that of the optimizer "muon", whose two rates rise together: it belongs to
            `learning_rate`, which alone would be another training. None likewise, and of other optimizers.
        has_diverged: bool, whether the test ended early.
    """

    rates: list
    losses: list
    smoothed: list
    suggestion: float | None
    learning_rate: float | None
    muon_learning_rate: float | None
    has_diverged: bool

    @property
    def is_at_end(self):
        """Whether the loss falls fastest at the last rate of the range, so that a higher one may be better."""
        return not self.has_diverged and self.suggestion is not None and self.suggestion == self.rates[-1]


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
    Source: Smith 2017, arXiv:1506.01186, section 3.3. The suggestion is where the loss falls fastest.
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
    rates, losses, least, average = [], [], math.inf, 0.0
    has_diverged = False
    for step, (images, labels) in enumerate(itertools.islice(splits.train(start_step=0), steps)):
        model.reset_metrics()
        loss = float(model.train_on_batch(images, labels, return_dict=True)["loss"])
        average = MEMORY * average + (1 - MEMORY) * loss
        now = average / (1 - MEMORY ** (step + 1))
        least = min(least, now)
        if not math.isfinite(loss) or (step >= LEAST_STEPS and now > DIVERGED * least):
            has_diverged = True
            break
        rates.append(lowest * factor**step)
        losses.append(loss)
        if on_step is not None:
            on_step(step + 1, steps)
    place = steepest(losses)
    suggestion = None if place is None else rates[place]
    scale = config.peak_learning_rate / config.learning_rate
    learning_rate = None if suggestion is None else suggestion / scale
    muon_rate = None
    if config.optimizer == "muon" and suggestion is not None:
        muon_rate = learning_rate * muon_ratio(config)
    return RateTest(rates, losses, smooth(losses).tolist(), suggestion, learning_rate, muon_rate, has_diverged)


def _model(config, splits, lowest, highest, steps):
    policy = Placement("one").resolve_precision(config.precision)[0]
    model = untrained_model(config, splits.spec, policy)
    begin(model, config, splits)
    freeze(model, config)
    schedule = keras.optimizers.schedules.ExponentialDecay(lowest, steps - 1, highest / lowest)
    compile_model(model, config, splits.steps_per_epoch, splits.spec, weights_of(config, splits), schedule)
    return model


def smooth(losses):
    """Losses of a range test without the noise of single batches: each the mean of its neighbours, of both sides.

    A mean over the steps before alone would move each fall to higher rates.

    Args:
        losses: sequence of float.

    Returns: `(n,)` float64. A loss above all of the first tenth counts as the largest of these.
    """
    losses = np.asarray(losses, "float64")
    if not len(losses):
        return losses
    losses = np.minimum(losses, losses[: max(1, len(losses) // 10)].max())
    places = np.arange(len(losses))
    weights = np.exp(-(((places[:, None] - places) / (WIDTH * len(losses))) ** 2) / 2)
    return weights @ losses / weights.sum(axis=1)


def steepest(losses):
    """Where the smoothed loss falls fastest, before its minimum.

    Args:
        losses: sequence of float.

    Returns: int, the position; None if the loss never falls by more than its noise.
    """
    losses, smoothed = np.asarray(losses, "float64"), smooth(losses)
    if len(losses) < 2:
        return None
    end = int(np.argmin(smoothed))
    # Of noise alone, the smoothed loss has a highest and a lowest place too, about one deviation apart.
    noise = float(np.std(np.minimum(losses, losses[0]) - np.minimum(smoothed, losses[0])))
    fall = smoothed[: end + 1].max() - smoothed[end]
    if fall <= max(2 * noise, LEAST_FALL * abs(smoothed[end])):
        return None
    return int(np.argmin(np.gradient(smoothed)[: end + 1]))
