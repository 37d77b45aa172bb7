"""What a training is computed on, in words, for its record."""

import keras


def device():
    """Name of the GPU or TPU that Keras' backend computes on, such as `"NVIDIA H100 80GB HBM3"`; None: the CPU.

    Of several, the first with their number: `"2 x NVIDIA H100 80GB HBM3"`.
    """
    names = _NAMES.get(keras.backend.backend(), list)()
    if not names:
        return None
    return names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"


def _on_jax():
    import jax

    return [found.device_kind for found in jax.devices() if found.platform != "cpu"]


def _on_tensorflow():
    import tensorflow as tf

    tpus = [device.name for device in tf.config.list_logical_devices("TPU")]
    if tpus:
        return ["TPU"] * len(tpus)
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]


_NAMES = {"jax": _on_jax, "tensorflow": _on_tensorflow}
