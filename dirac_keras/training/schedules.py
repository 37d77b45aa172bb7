"""Learning rates as functions of the step."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="dirac_keras")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to the peak, then linear fall to zero.

    Args:
        peak: float, the highest learning rate.
        total_steps: int, length of the cycle; the rate is 0 at and after it.
        warmup_fraction: float in (0, 1), the share of steps that rise.

    Source: Smith & Topin 2017, arXiv:1708.07120, without the momentum cycle.
    """

    def __init__(self, peak, total_steps, warmup_fraction=0.25):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_fraction = warmup_fraction

    def __call__(self, step):
        progress = (ops.cast(step, "float32") + 0.5) / self.total_steps  # the middle of the step: never 0 at the start
        rise = progress / self.warmup_fraction
        fall = (1.0 - progress) / (1.0 - self.warmup_fraction)
        return self.peak * ops.clip(ops.minimum(rise, fall), 0.0, 1.0)

    def get_config(self):
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup_fraction": self.warmup_fraction}


def build_schedule(config, steps_per_epoch):
    """The learning rate of a `TrainConfig` as a Keras schedule.

    Args:
        config: `TrainConfig`; `schedule` is `"one_cycle"`, `"step"` or `"constant"`.
        steps_per_epoch: int.
    """
    total_steps = config.epochs * steps_per_epoch
    peak = config.peak_learning_rate
    if config.schedule == "one_cycle":
        return OneCycle(peak, total_steps, config.warmup_fraction)
    if config.schedule == "step":
        boundaries = [round(epoch * steps_per_epoch) for epoch in config.decay_epochs]
        values = [peak * config.decay_factor**k for k in range(len(boundaries) + 1)]
        # Keras' boundaries belong to the rate before them; an epoch's first step takes the new rate.
        return keras.optimizers.schedules.PiecewiseConstantDecay([b - 1 for b in boundaries], values)
    return keras.optimizers.schedules.PiecewiseConstantDecay([total_steps], [peak] * 2)
