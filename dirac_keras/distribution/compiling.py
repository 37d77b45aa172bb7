"""What a compiled model is compiled with again where test batches have a mask."""

import keras


def compile_config(model):
    """Arguments of `model.compile` for the same training, whose metrics heed the mask of what fills a batch up.

    Args:
        model: compiled `keras.Model`.

    Returns: dict; without `jit_compile`.
    """
    compiled = model.get_compile_config()
    return {
        "optimizer": model.optimizer,
        "loss": _deserialized(compiled["loss"]),
        # Weighted, so that the mask of what fills up a test batch counts; training has no weights.
        "weighted_metrics": [*_as_list(compiled["metrics"]), *_as_list(compiled["weighted_metrics"])],
    }


def _deserialized(config):
    return keras.saving.deserialize_keras_object(config)


def _as_list(metrics):
    return [_deserialized(metric) for metric in metrics or ()]
