"""What replicas must have to compute what one device computes: synchronised statistics, and nothing per replica."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.nested import all_layers


def synchronize(model):
    """Let every BatchNormalization of a model take its statistics over the batches of all replicas.

    Without it each replica normalizes by its own part of the batch and keeps moving statistics of its own, of which
    one replica's are saved (Keras 3.15). On one device the switch has no effect.

    Args:
        model: `keras.Model`, changed in place; nested models too.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def refuse_what_replicas_compute_wrongly(model):
    """Raise ValueError if a compiled model would train to something else on several replicas than on one device.

    Args:
        model: compiled `keras.Model`.

    Raises: ValueError: for gradient clipping that is Keras' own, per replica before gradients are summed; gradient
        accumulation and `jit_compile=True`, which fail in TensorFlow's replicas; activity regularizers, whose loss
        the synchronised BatchNormalization counts several times; batch renormalization, which is per replica.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # behind loss scaling
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        value = getattr(optimizer, name, None)
        is_of_the_sum = name == "global_clipnorm" and getattr(optimizer, "clips_sums", False)  # see `SummedClipping`
        if value is not None and not is_of_the_sum:
            raise UserError(
                f"{name} cuts the gradients of each replica before they are summed, another result than one device's. "
                f'Received {name}={value} on several replicas. Leave it out, or train with `strategy="one"`.'
            )
    if optimizer.gradient_accumulation_steps:
        raise UserError(
            "Gradients cannot be accumulated over batches on several replicas. Received gradient_accumulation_steps="
            f'{optimizer.gradient_accumulation_steps}. Give a larger `batch_size`, or train with `strategy="one"`.'
        )
    if model.jit_compile is True:
        raise UserError(
            "TensorFlow cannot compile replicas with XLA. Received jit_compile=True on several replicas. "
            'Compile with `jit_compile=False`, or train with `strategy="one"`.'
        )
    for layer in all_layers(model):
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UserError(
                "The loss of an activity regularizer is counted several times on several replicas. Received layer "
                f"'{layer.name}' with one. Regularize weights instead, or train with `strategy=\"one\"`."
            )
        if getattr(layer, "renorm", False):
            raise UserError(
                "Batch renormalization has statistics of its own on each replica. Received layer "
                f"'{layer.name}' with renorm=True. Leave it out, or train with `strategy=\"one\"`."
            )
