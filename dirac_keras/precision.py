"""Which arithmetic pays on this machine."""

import contextlib

import keras

from dirac_keras.errors import UserError, check_choice
from dirac_keras.moved import moved_names

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
    "mixed_bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
}


def resolve_precision(precision):
    """Keras' dtype policy for a precision, and the reason in words.

    Args:
        precision: `"auto"`, `"float32"`, `"bfloat16"`, `"float16"` (or Keras' `mixed_` names), or `"float64"`, in which
            two ways to compute the same can be told from two that differ.

    Returns: `(policy, reason)`, two strings. `"auto"` is mixed_bfloat16 where the processor computes in bfloat16 (GPU,
        TPU, a CPU with AMX or AVX512-BF16), float32 elsewhere, where bfloat16 would be emulated and slower.
    Raises: ValueError: if `precision` is unknown, or float64 where Keras computes parts of a network in float32 anyway.
    """
    if precision == "float64" and not has_float64():
        raise UserError(
            f"Keras on {keras.backend.backend()} computes in float32 what is asked in float64. Received "
            'precision="float64"; set KERAS_BACKEND=tensorflow, or give `precision="float32"`.'
        )
    check_choice("precision", precision, ("auto", *POLICIES))
    if precision != "auto":
        return POLICIES[precision], "as asked"
    if accelerators := _accelerators():
        return "mixed_bfloat16", f"{accelerators[0]} computes in bfloat16"
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in cpu_flags():
            return "mixed_bfloat16", f"this processor has {flag}"
    return "float32", "this processor has no bfloat16 arithmetic"


def _accelerators():
    """Names of the devices that are no CPU."""
    if keras.backend.backend() == "torch":  # where Keras has no list of devices
        import torch

        return ["cuda"] if torch.cuda.is_available() else []
    return [name for name in keras.distribution.list_devices() if not name.lower().startswith("cpu")]


def has_float64():
    """Keras 3.15 promotes float64 to float32 but on TensorFlow, in BatchNormalization among others."""
    return keras.backend.result_type("float64", "float32") == "float64"


def cpu_flags(path="/proc/cpuinfo"):
    """Set of the processor's feature flags; empty where the system does not tell (not Linux, not x86)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


@contextlib.contextmanager
def dtype_policy(policy):
    """Keras' global dtype policy inside the `with`, the former one after it."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


__getattr__ = moved_names(__name__)
