"""Where several batches are one update of the weights: what that allows, and what it means."""

import logging

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.nested import all_layers

logger = logging.getLogger("dirac_keras")


def check_accumulation(config, steps_per_epoch, place, policy):
    """Raise UserError if gradients cannot be accumulated here as on one device in larger batches.

    Args:
        config: `TrainConfig`.
        steps_per_epoch: int, batches.
        place: `Placement`.
        policy: name of the dtype policy.
    """
    every = config.accumulate_steps
    if every == 1:
        return
    received = f"Received accumulate_steps={every}"
    if place.num_replicas > 1 and keras.backend.backend() == "tensorflow":
        raise UserError(
            f"accumulate_steps: TensorFlow's replicas cannot accumulate gradients over batches. {received} on {place}. "
            'Give a larger `batch_size`, or train with `strategy="one"`; on JAX they can.'
        )
    if policy == "mixed_float16":
        raise UserError(
            "accumulate_steps: in float16 a batch whose gradient overflows is left out, and the updates would begin "
            f'elsewhere. {received} with precision={config.precision!r}: give `precision="bfloat16"` or '
            '`precision="float32"`.'
        )
    if every > config.epochs * steps_per_epoch:
        raise UserError(
            f"accumulate_steps must be at most the batches of the training, {config.epochs * steps_per_epoch}. "
            f"{received}."
        )
    boundary = (config.unfreeze_epoch or 0) * steps_per_epoch
    if boundary % every:
        raise UserError(
            "accumulate_steps must divide the batches before `unfreeze_epoch`, so that an update ends there. "
            f"{received} and {boundary} batches."
        )


def say_accumulation(config, model, steps_per_epoch):
    """Log what the updates are, what is left over, and what still counts single batches."""
    every = config.accumulate_steps
    if every == 1:
        return
    batches = config.epochs * steps_per_epoch
    parts = [f"an update every {every} batches, {every * config.batch_size:,} images"]
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in all_layers(model)):
        parts.append(f"BatchNormalization takes its statistics over each batch of {config.batch_size:,}")
    if batches % every:
        parts.append(f"the last {batches % every} of {batches:,} batches are in no update")
    logger.info("; ".join(parts))
