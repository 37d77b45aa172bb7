"""The device that computes: whether it is an accelerator, and what its memory takes."""

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.training.limits import machine_bytes

DATA_SHARE = 0.3  # of the device's memory that data may take unless the user asks for it


def is_accelerator():
    """Whether JAX computes on something else than a CPU."""
    import jax

    return jax.default_backend() != "cpu"


def memory():
    """`(bytes that can be used, bytes in use)` of the first device; a CPU's are the machine's."""
    if keras.backend.backend() == "tensorflow":
        return _gpu_bytes() or machine_bytes(), 0
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or machine_bytes(), stats.get("bytes_in_use", 0)


def _gpu_bytes():
    """What TensorFlow may use of the first GPU; None without one."""
    from tensorflow.python.client import device_lib  # the only place where TensorFlow tells it

    return next((one.memory_limit for one in device_lib.list_local_devices() if one.device_type == "GPU"), None)


def stored_bytes(splits):
    """Bytes that the training images and labels of `splits` take on the device, their border included.

    Returns: int; None if they cannot lie there, as images that are not decoded in memory, or those that the host
        augments, see `needs_host`.
    """
    cuts = "on_device" if keras.backend.backend() == "tensorflow" else "draws"
    augmentation = getattr(splits, "augmentation", None)
    if not hasattr(splits, "stored") or not hasattr(splits, cuts) or augmentation.resized_crop or needs_host(splits):
        return None
    stored = splits.stored("train")
    if stored is None:
        return None
    count, height, width, channels = stored.images.shape
    border = 2 * augmentation.padding
    images = count * (height + border) * (width + border) * channels
    return images + sum(4 * np.asarray(part).size for part in (stored.rows, stored.labels))  # each number in 4 bytes


def needs_host(splits):
    """Whether an augmentation is computed by the host alone: Pillow's operations; under TensorFlow all additions."""
    augmentation = getattr(splits, "augmentation", None)
    if augmentation is None:
        return False
    return augmentation.has_additions if keras.backend.backend() == "tensorflow" else augmentation.has_operations


def judge(splits, asked):
    """Whether the training data are to lie on the device, and why.

    Args:
        splits: data, see `train`.
        asked: `"auto"`, `"yes"` or `"no"`.

    Returns: `(bool, str)`.
    Raises: UserError: for `"yes"` and data that cannot lie there.
    """
    if asked == "no":
        return False, "no, as asked; batches are streamed"
    if needs_host(splits):
        return False, "no, the host computes their augmentation; batches are streamed"
    needed, (limit, used) = stored_bytes(splits), memory()
    if needed is None:
        if asked == "yes":
            raise UserError(
                "`data_on_device` takes images that are decoded in memory, at the model's size. Received "
                f"data_on_device=yes with data {splits.spec.name}, whose images are not: leave it out, and batches are "
                "streamed to the device."
            )
        return False, "no, its images are not decoded in memory at the model's size; batches are streamed"
    if asked == "yes" and needed > limit - used:
        raise UserError(
            f"The training data are larger than the device: they take {size(needed)}, it has {size(limit)}, of which "
            f"{size(used)} are in use. Received data_on_device=yes; give no, or fewer images by `max_train`."
        )
    share = needed / limit
    if asked == "auto" and share > DATA_SHARE:
        share = f"{size(needed)} are {percent(share)} of its memory, more than {DATA_SHARE:.0%}"
        return False, f"no, {share}; batches are streamed"
    return True, f"yes, {size(needed)}, {percent(share)} of its memory"


def percent(share):
    """A share in words, as exact as a reader can use it."""
    if share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 1 else f"{share:.0%}"


def size(count):
    """Bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count / 1e3:.3g} kB"
