"""From a config to a model: built, and compiled for its training."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.casting import to_dtype
from dirac_keras.models.family import find_family
from dirac_keras.precision import dtype_policy
from dirac_keras.training.losses import SmoothedCrossentropy
from dirac_keras.training.optimizers import CoupledSGD
from dirac_keras.training.schedules import build_schedule

TOP5_FROM_CLASSES = 21  # with fewer, five guesses say little


def build_model(config, spec):
    """The untrained model of a `TrainConfig` for a data set's `spec` (`image_shape`, `num_classes`)."""
    if spec.num_classes < 2:
        raise UserError(f"data {spec.name} has one class, {spec.class_names[0]}: nothing to tell apart. Add another.")
    return find_family(config.family).build(config, spec)


def untrained_model(config, spec, policy):
    """The model of a run before its first step: `build_model` with the config's seed and a dtype policy's name."""
    keras.utils.set_random_seed(config.seed)
    if policy == "float64":  # the classifier too, which is float32 in mixed precision; and the start is float32's
        with dtype_policy("float32"):
            return to_dtype(build_model(config, spec), "float64")
    with dtype_policy(policy):
        return build_model(config, spec)


def compile_model(model, config, steps_per_epoch):
    """Compile with the config's loss, schedule and weight decay."""
    optimizer = CoupledSGD(
        build_schedule(config, steps_per_epoch),
        momentum=config.momentum,
        nesterov=config.nesterov,
        l2=config.weight_decay,
        **({"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}),
    )
    if model.dtype_policy.name == "mixed_float16":
        # `compile` would wrap it too, but save the wrapped one: a loaded model would train without the scale and, as
        # the numbers of variables differ, without the momentum.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=SmoothedCrossentropy(config.label_smoothing),
        metrics=_metrics(model.output_shape[-1]),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # XLA is slower here on a CPU
    )


def _metrics(num_classes):
    top1 = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if num_classes < TOP5_FROM_CLASSES:
        return [top1]
    return [top1, keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")]
