import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from dirac_keras.kernels import effective_kernel, filter_norms, identity_kernel, normalize_filters

odd = st.sampled_from([1, 3, 5])


@settings(max_examples=30, deadline=None)
@given(st.tuples(odd, odd), st.integers(1, 5), st.integers(1, 5))
def test_identity_kernel_is_one_at_the_centre_tap_of_equal_channels_only(size, in_channels, filters):
    identity = identity_kernel((*size, in_channels, filters))
    centre = identity[size[0] // 2, size[1] // 2]
    np.testing.assert_array_equal(centre, np.eye(in_channels, filters))
    assert identity.sum() == min(in_channels, filters)


@settings(max_examples=20, deadline=None)
@given(odd, st.integers(1, 4), st.integers(0, 100))
def test_convolution_with_the_identity_kernel_is_the_identity(size, channels, seed):
    images = np.random.default_rng(seed).normal(size=(2, 6, 7, channels)).astype("float32")
    outputs = ops.conv(images, identity_kernel((size, size, channels, channels)), padding="same")
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), images)  # products with 0 and 1 are exact


def test_grouped_identity_kernel_is_the_identity_of_grouped_convolution():
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 6)).astype("float32")
    outputs = ops.conv(images, identity_kernel((3, 3, 2, 6), groups=3), padding="same")
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), images)


def test_identity_kernel_of_even_size_is_refused_with_the_size():
    with pytest.raises(ValueError, match=r"odd kernel sizes\. Received kernel_size=\(2, 3\)"):
        identity_kernel((2, 3, 4, 4))


def test_filters_have_norm_one_after_normalisation():
    kernel = np.random.default_rng(0).normal(3.0, 2.0, size=(3, 3, 8, 5)).astype("float32")
    norms = ops.convert_to_numpy(filter_norms(normalize_filters(kernel)))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-6)  # float32 rounding of a sum of 72 squares


def test_normalisation_of_a_filter_of_three_and_four_gives_three_and_four_fifths():
    kernel = np.array([[3.0], [4.0]], "float32")  # one filter, norm 5
    np.testing.assert_allclose(ops.convert_to_numpy(normalize_filters(kernel)), [[0.6], [0.8]], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_normalisation_does_not_depend_on_the_scale_of_the_filters(factor):
    kernel = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    scaled = ops.convert_to_numpy(normalize_filters((kernel * factor).astype("float32")))
    np.testing.assert_allclose(scaled, ops.convert_to_numpy(normalize_filters(kernel)), atol=1e-6)


def test_zero_filter_stays_zero():
    kernel = np.zeros((3, 3, 2, 2), "float32")
    kernel[..., 1] = 1.0
    normalized = ops.convert_to_numpy(normalize_filters(kernel))
    assert np.all(normalized[..., 0] == 0.0) and np.isfinite(normalized).all()


def test_equation_5_by_hand():
    kernel = np.array([[3.0, 0.0], [4.0, 2.0]], "float32")  # dense, filters (3, 4) and (0, 2)
    result = effective_kernel(
        kernel, identity_kernel((2, 2)), np.array([2.0, -1.0], "float32"), np.array([10.0, 0.5], "float32")
    )
    # a I = [[2, 0], [0, -1]]; b W_norm = [[10 * 0.6, 0], [10 * 0.8, 0.5]]
    np.testing.assert_allclose(ops.convert_to_numpy(result), [[8.0, 0.0], [8.0, -0.5]], rtol=1e-6)


def test_equation_4_by_hand():
    kernel = np.array([[3.0, 0.0], [4.0, 2.0]], "float32")
    result = effective_kernel(kernel, identity_kernel((2, 2)), np.array([2.0, -1.0], "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(result), [[5.0, 0.0], [4.0, 1.0]])


def test_equation_8_by_hand():
    kernel = np.array([[3.0, 0.0], [4.0, 2.0]], "float32")
    result = effective_kernel(ops.convert_to_tensor(kernel), identity_kernel((2, 2)))
    np.testing.assert_array_equal(ops.convert_to_numpy(result), [[4.0, 0.0], [4.0, 3.0]])


@pytest.mark.parametrize("size", [3e-5, 300.0])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_normalized_in_float32(size, precision):
    """By hand: both weights of a filter are 1 / sqrt(2); their squares are 9e-10 or 90,000, which float16 has not."""
    kernel = ops.cast(np.full((2, 1), size, "float32"), precision)
    normalized = normalize_filters(kernel, ops.cast(np.ones(1), precision))
    assert keras.backend.standardize_dtype(normalized.dtype) == precision
    rounding = 2.0**-8 if precision == "bfloat16" else 2.0**-11  # once, at the end
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(normalized, "float32")), 0.5**0.5, rtol=rounding)


def test_zero_filter_stays_zero_in_float16():
    normalized = normalize_filters(ops.cast(np.zeros((3, 2)), "float16"))
    np.testing.assert_array_equal(ops.convert_to_numpy(normalized), 0.0)
