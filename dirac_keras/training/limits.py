"""What a network would take, estimated from its configuration before anything of it is built.

A layer too many or too wide is found in microseconds here; built, it would take hours, or all memory. The figures are
rough, to a factor of two or three: they tell a network from a mistake, not whether the last gigabyte suffices.
"""

import contextlib
import functools
import os

from dirac_keras.errors import UserError
from dirac_keras.models.family import find_family, is_of_file

# Bytes for every number of the weights in float32: itself, its gradient, its momentum, and a copy when it is saved.
WEIGHT_BYTES = 4 * 4
# Of a layer with its normalization and activation: Keras' objects, and the graph of its training step.
LAYER_BYTES = 2**19
# Tensors that a layer keeps for its gradient: what goes into convolution, normalization and activation.
KEPT_TENSORS = 3
# A step may take more than the processor's memory where an accelerator computes it.
ACCELERATOR_TIMES = 16
MOST_STEPS = 2**31 - 1  # which the optimizer counts, on every backend
FALLBACK_BYTES = 2**34  # where the system does not tell its memory


def check_size(config, spec=None, max_gigabytes=None):
    """Raise UserError if a config's network, or its training step, is far too large for the machine, or there is none.

    Args:
        config: `TrainConfig`.
        spec: data set with `image_shape`, `num_classes` and `num_train`; None, before the data are read, checks what
            the config alone says.
        max_gigabytes: number, 10^9 bytes that may be used; None: the memory of this machine.
    """
    allowed = machine_bytes() if max_gigabytes is None else max_gigabytes * 1e9
    if is_of_file(config):  # whose size is known when it is read
        _check_steps(config, spec)
        return
    shape = _image_shape(config, spec)
    weights, tensors = _estimate(config, shape, getattr(spec, "num_classes", 10))
    built = weights * WEIGHT_BYTES + config.depth * LAYER_BYTES
    if built > allowed:
        raise _too_large(f"A network with {_size(config)} takes", built, allowed, "`depth` or the layers' size")
    find_family(config.family).layout(config.layout).check_depth(config.depth)
    if shape is None:
        return
    step = config.batch_size * (KEPT_TENSORS * tensors + shape[0] * shape[1] * shape[2]) * 4
    if step > allowed * (ACCELERATOR_TIMES if _has_accelerator() else 1):
        size = f"{config.batch_size:,} images of {shape[0]} x {shape[1]} pixels"
        raise _too_large(f"A training step on {size} takes", step, allowed, "`batch_size` or `image_size`")
    _check_steps(config, spec)


def _check_steps(config, spec):
    steps = config.epochs * max(1, getattr(spec, "num_train", 1) // config.batch_size)
    if steps > MOST_STEPS:
        raise UserError(
            f"epochs={config.epochs:,} are {steps:,} steps; at most {MOST_STEPS:,} can be counted. Lower `epochs`."
        )


@functools.cache
def machine_bytes():
    """Bytes of this machine's memory, or what its container may use of it."""
    found = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                found.append(int(file.read()))
        except (OSError, ValueError):
            continue
    return min((number for number in found if number > 0), default=FALLBACK_BYTES)


def _image_shape(config, spec):
    if spec is not None and None not in spec.image_shape:
        return tuple(spec.image_shape) if len(spec.image_shape) == 3 else None
    return None if config.image_size is None else (config.image_size, config.image_size, 3)


def _estimate(config, shape, num_classes):
    """Numbers in the weights of a network, and in the outputs of its layers for one image (0 where that is unknown)."""
    layout = find_family(config.family).layout(config.layout)
    if not layout.channels:
        units, inputs = float(config.units or 1), 1
        if shape is not None:
            inputs = shape[0] * shape[1] * shape[2]
        return inputs * units + config.depth * units * units + units * num_classes, config.depth * units
    factor = float(config.width) if layout.size == "width" else 1.0
    layers = config.depth / len(layout.channels)
    weights = sum(layers * 9 * (channels * factor) * (channels * factor) for channels in layout.channels)
    weights += layout.channels[-1] * factor * num_classes
    if shape is None:
        return weights, 0
    pixels = shape[0] * shape[1] / layout.stem_stride**2
    tensors = sum(layers * pixels / 4**group * channels * factor for group, channels in enumerate(layout.channels))
    return weights, tensors


def _size(config):
    layout = find_family(config.family).layout(config.layout)
    size = "" if layout.size is None else f" and {layout.size}={getattr(config, layout.size):,}"
    return f"depth={config.depth:,}{size}"


def _too_large(what, needed, allowed, smaller):
    return UserError(
        f"{what} about {needed / 1e9:,.3g} GB of memory; {allowed / 1e9:,.3g} GB are allowed. Lower {smaller}, or give "
        "more with `max_gigabytes`."
    )


def _has_accelerator():
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.is_available()
    return False
