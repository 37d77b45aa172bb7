"""From a config to a model: built, started from its data, and compiled for its training."""

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.graph.casting import to_dtype
from dirac_keras.layers import WhitenedConv2D
from dirac_keras.models.family import find_family, is_of_file
from dirac_keras.precision import dtype_policy
from dirac_keras.training.dropout import with_dropout
from dirac_keras.training.given import build_from_text, network_text, prepared
from dirac_keras.training.optimization.decoupled import ADAM_BETAS, LION_BETAS, DecoupledAdam, DecoupledLion
from dirac_keras.training.optimization.optimizers import CoupledSGD, MuonSGD
from dirac_keras.training.optimization.plateau import is_plateau
from dirac_keras.training.optimization.schedules import build_schedule
from dirac_keras.training.start.layer_patterns import check_rates, parse_rates
from dirac_keras.training.tasks import CLASSES, VALUES, task_loss, task_metrics, task_of, with_values

WHITENING_IMAGES = 5000  # of the training images, as in arXiv:2404.00498, section 3.2


def build_model(config, spec):
    """The untrained model of a `TrainConfig` for a data set's `spec` (`image_shape`, `num_classes`).

    Of a config of family "file" it is that of the file, with its weights.
    """
    if spec.num_classes < 2 and task_of(spec) == CLASSES:
        raise UserError(f"data {spec.name} has one class, {spec.class_names[0]}: nothing to tell apart. Add another.")
    if is_of_file(config):
        return prepared(config, spec, "float32")[0]
    network = find_family(config.family).build(config, spec)
    if config.dropout:
        network = with_dropout(network, config.dropout, config.seed)
    return with_values(network, spec) if task_of(spec) == VALUES else network


def untrained_model(config, spec, policy, network=None):
    """The model of a run before its first step: `build_model` with the config's seed and a dtype policy's name.

    Where there are `layers_from_data`, `start_from_data` comes before the first step too.

    Args:
        config: `TrainConfig`.
        spec: of its data.
        policy: str, Keras' dtype policy.
        network: of a config of family "file", the text that its run keeps of the network, see `given`; None: it is made
            of the file again.
    """
    if is_of_file(config):
        network = network or network_text(config, spec, policy)
        keras.utils.set_random_seed(config.seed)
        return build_from_text(network)
    keras.utils.set_random_seed(config.seed)
    if policy == "float64":  # the classifier too, which is float32 in mixed precision; and the start is float32's
        with dtype_policy("float32"):
            return to_dtype(build_model(config, spec), "float64")
    with dtype_policy(policy):
        return build_model(config, spec)


def layers_from_data(model):
    """The layers whose weights are computed from training images; of most networks none."""
    return [layer for layer in model.layers if isinstance(layer, WhitenedConv2D)]


def start_from_data(model, splits):
    """Compute the weights that come from training images, see `layers_from_data`; the same images give the same.

    Args:
        model: `keras.Model`, whose layers of that kind read the images.
        splits: data, with `train_in_order(limit)`.
    """
    layers = layers_from_data(model)
    if layers:
        images = np.concatenate([np.asarray(batch) for batch, _ in splits.train_in_order(WHITENING_IMAGES)])
        for layer in layers:
            layer.adapt(images)


def compile_model(model, config, steps_per_epoch, spec=None, class_weights=None, schedule=None):
    """Compile with the config's loss, schedule and optimizer.

    Args:
        model: `keras.Model`.
        config: `TrainConfig`.
        steps_per_epoch: int, batches.
        spec: of the data; None: each image has one class.
        class_weights: see `class_weights.weights_of`.
        schedule: Keras' schedule of the learning rate; None: that of the config.
    """
    if config.learning_rate_of is not None:
        check_rates(model, parse_rates(config.learning_rate_of), config.unfreeze_epoch is not None)
    if schedule is None:  # what falls on a plateau is a variable, which a callback sets
        schedule = config.peak_learning_rate if is_plateau(config) else build_schedule(config, steps_per_epoch)
    optimizer = build_optimizer(config, schedule, steps_per_epoch)
    if model.dtype_policy.name == "mixed_float16":
        # `compile` would wrap it too, but save the wrapped one: a loaded model would train without the scale and, as
        # the numbers of variables differ, without the momentum.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=task_loss(config, spec, class_weights),
        metrics=task_metrics(spec, model.output_shape[-1]),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # XLA is slower here on a CPU
    )


def build_optimizer(config, schedule, steps_per_epoch):
    """The optimizer of a `TrainConfig` with its schedule.

    Args:
        config: `TrainConfig`.
        schedule: Keras' schedule of the learning rate, with `config.peak_learning_rate` as its highest; or a number.
        steps_per_epoch: int.
    """
    options = {"rates": parse_rates(config.learning_rate_of or "")}
    if config.clip_norm is not None:
        options["global_clipnorm"] = config.clip_norm
    if config.accumulate_steps > 1:
        options["gradient_accumulation_steps"] = config.accumulate_steps
    if config.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if config.optimizer in ("adamw", "lion"):
        kind, betas = {"adamw": (DecoupledAdam, ADAM_BETAS), "lion": (DecoupledLion, LION_BETAS)}[config.optimizer]
        beta_1, beta_2 = config.betas or betas
        return kind(schedule, beta_1=beta_1, beta_2=beta_2, decay=config.weight_decay, **options)
    options |= {
        "momentum": config.momentum,
        "nesterov": config.nesterov,
        "l2": config.weight_decay,
        "beta_rate": config.beta_rate,
        "momentum_rule": config.momentum_rule,
    }
    if config.lookahead_steps:
        options |= {"lookahead_steps": config.lookahead_steps, "total_steps": config.epochs * steps_per_epoch}
    if config.optimizer == "sgd":
        return CoupledSGD(schedule, **options)
    return MuonSGD(schedule, muon_ratio=muon_ratio(config), muon_momentum=config.muon_momentum, **options)


def muon_ratio(config):
    """How many times the learning rate the kernels' own is, of the optimizer "muon": they follow one schedule."""
    return config.muon_learning_rate / config.learning_rate
