"""Kinds of failures, by the classes and texts in which libraries report them."""

import errno

import pytest

from dirac_keras.errors import RunError
from dirac_keras.failures import is_of_channels_first, is_of_framework, is_out_of_memory, text_of


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_does_not_suffice_is_known_by_class_number_or_text(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "out of memory is the name of this disk"), RunError("out of memory?"), ValueError("shape")],
)
def test_other_failures_are_none_of_memory(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "text",
    [
        "The Conv2D op currently only supports the NHWC tensor format on the CPU. The op was given the format: NCHW",
        "Default MaxPoolingOp only supports NHWC on device type CPU",
        "Depthwise convolution on CPU is only supported for NHWC format",
        "The Conv3D op currently only supports the NDHWC tensor format on the CPU.",
    ],
)
def test_channels_first_on_a_cpu_is_known_by_what_tensorflow_says(text):
    assert is_of_channels_first(RuntimeError(f"in a graph: {text}"))
    assert not is_of_channels_first(RuntimeError("NHWC"))


def test_framework_is_known_by_the_module_of_the_class():
    assert is_of_framework(type("XlaRuntimeError", (RuntimeError,), {"__module__": "jaxlib.xla_extension"})())
    assert not is_of_framework(ValueError())


def test_error_whose_text_fails_still_has_one():
    class Mute(Exception):
        def __str__(self):
            raise TypeError

    assert text_of(Mute()) == "Mute, whose text cannot be made (TypeError)"
