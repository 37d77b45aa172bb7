"""What kind of failure an exception of the system or of a framework is; each says it in a text of its own."""

import errno
import re

from dirac_keras.errors import RunError, UserError

_FRAMEWORKS = ("tensorflow", "jax", "jaxlib", "torch", "h5py")
_OUT_OF_MEMORY = re.compile(
    r"(?i)RESOURCE_EXHAUSTED|out[ _]of[ _]memory|bad_alloc|failed to allocate|OOM when allocating"
)

# What TensorFlow says of a convolution, a pool or a bias on a CPU.
_CHANNELS_LAST_ALONE = re.compile(r"only support\w* [^.\n]{0,40}\bND?HWC\b")
CHANNELS_FIRST = (
    "Without oneDNN, TensorFlow computes layers with data_format='channels_first' on a GPU alone. Build the model "
    "again with data_format='channels_last' and give it the same weights (`set_weights`; kernels have the same shape), "
    "or set KERAS_BACKEND=jax, or on an x86 processor TF_ENABLE_ONEDNN_OPTS=1"
)


def is_of_channels_first(error):
    """Whether an exception says that TensorFlow does not compute layers with channels first here."""
    return not isinstance(error, (UserError, RunError)) and _CHANNELS_LAST_ALONE.search(text_of(error)) is not None


def is_of_framework(error):
    """Whether an exception's class is one of TensorFlow, JAX, PyTorch or HDF5."""
    return type(error).__module__.split(".")[0] in _FRAMEWORKS


def is_out_of_memory(error):
    """Whether an exception says that the memory of the machine or of a device did not suffice.

    TensorFlow reports a full disk and too many open files in the same class: look for those first.
    """
    if isinstance(error, (UserError, RunError)):
        return False  # has its own words
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    is_by_class = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    return is_by_class or _OUT_OF_MEMORY.search(text_of(error)) is not None


def text_of(error):
    """`str(error)`, which must not fail."""
    try:
        return str(error)
    except Exception as another:
        return f"{type(error).__name__}, whose text cannot be made ({type(another).__name__})"
