"""Learning rates as functions of the step."""

import logging

import keras
from keras import ops

logger = logging.getLogger("dirac_keras")


@keras.saving.register_keras_serializable(package="dirac_keras")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to the peak, then linear fall.

    Args:
        peak: float, the highest learning rate.
        total_steps: int, length of the cycle.
        warmup_fraction: float in [0, 1), the share of steps that rise; 0: the rate falls from the start.
        start_fraction, end_fraction: float in [0, 1), where the rise begins and the fall ends, as a share of the peak.

    Source: Smith & Topin 2017, arXiv:1708.07120, without the momentum cycle.
    """

    def __init__(self, peak, total_steps, warmup_fraction=0.25, start_fraction=0.0, end_fraction=0.0):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_fraction = warmup_fraction
        self.start_fraction = start_fraction
        self.end_fraction = end_fraction

    def __call__(self, step):
        progress = (ops.cast(step, "float32") + 0.5) / self.total_steps  # the middle of the step: never 0 at the start
        fall = (1.0 - progress) / (1.0 - self.warmup_fraction)
        share = self.end_fraction + (1.0 - self.end_fraction) * fall
        if self.warmup_fraction:
            rise = progress / self.warmup_fraction
            share = ops.minimum(share, self.start_fraction + (1.0 - self.start_fraction) * rise)
        return self.peak * ops.clip(share, 0.0, 1.0)

    def get_config(self):
        names = ("peak", "total_steps", "warmup_fraction", "start_fraction", "end_fraction")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="dirac_keras")
class Cosine(keras.optimizers.schedules.CosineDecay):
    """Keras' cosine with warm-up, read in the middle of each step as `OneCycle` is: the first step is not lost.

    Args: as `keras.optimizers.schedules.CosineDecay`.
    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5 without restarts.
    """

    def __call__(self, step):
        return super().__call__(ops.cast(step, "float32") + 0.5)


@keras.saving.register_keras_serializable(package="dirac_keras")
class EveryFew(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of updates, where an optimizer counts batches and updates once in so many of them.

    Args:
        schedule: Keras' schedule of the update, from 0.
        every: int, batches of an update.
    """

    def __init__(self, schedule, every):
        self.schedule = schedule
        self.every = every

    def __call__(self, step):
        return self.schedule(ops.cast(step, "int32") // self.every)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "every": self.every}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["every"])


def build_schedule(config, steps_per_epoch):
    """The learning rate of a `TrainConfig` as a Keras schedule.

    Args:
        config: `TrainConfig`; `schedule` is one of `config.SCHEDULES`.
        steps_per_epoch: int, batches.
    """
    if config.accumulate_steps > 1:
        updates = steps_per_epoch / config.accumulate_steps
        return EveryFew(_schedule_of_updates(config, updates), config.accumulate_steps)
    return _schedule_of_updates(config, steps_per_epoch)


def say_late_decays(config):
    """Log the epochs at which a stepped rate would fall if the training, a shorter one than the recipe's, went on."""
    late = [f"{epoch:g}" for epoch in config.decay_epochs if epoch >= config.epochs]
    if config.schedule == "step" and late:
        how = "never falls" if len(late) == len(config.decay_epochs) else "does not fall as often"
        logger.warning(
            "the rate %s: the training ends at epoch %d, before those of `decay_epochs` %s",
            how, config.epochs, ", ".join(late),
        )  # fmt: skip


def _schedule_of_updates(config, steps_per_epoch):
    total_steps = config.epochs * steps_per_epoch
    peak = config.peak_learning_rate
    if config.schedule == "cosine":
        return _cosine(config, peak, total_steps)
    if config.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(peak, steps_per_epoch, config.decay_factor)
    if config.schedule == "one_cycle":
        return OneCycle(peak, total_steps, config.warmup_fraction, config.start_fraction, config.end_fraction)
    if config.schedule == "step":
        boundaries = [round(epoch * steps_per_epoch) for epoch in config.decay_epochs]
        values = [peak * config.decay_factor**k for k in range(len(boundaries) + 1)]
        # Keras' boundaries belong to the rate before them; an epoch's first step takes the new rate.
        return keras.optimizers.schedules.PiecewiseConstantDecay([b - 1 for b in boundaries], values)
    # Of plateau the rate at the start, see `training.plateau`.
    return keras.optimizers.schedules.PiecewiseConstantDecay([round(total_steps)], [peak] * 2)


def _cosine(config, peak, total_steps):
    warmup_steps = config.warmup_fraction * total_steps
    if not warmup_steps:
        return Cosine(peak, total_steps, config.end_fraction)
    start = config.start_fraction * peak
    return Cosine(start, total_steps - warmup_steps, config.end_fraction, warmup_target=peak, warmup_steps=warmup_steps)
