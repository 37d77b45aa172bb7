"""Kernels on the grid of integers: numbers worked by hand, and what rounding by data is for."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import METHODS, round_weights, signal_to_noise_db
from dirac_keras.deployment.quantization.gptq import BLOCK, Hessian, round_by_data
from dirac_keras.deployment.quantization.grids import filter_scales, to_nearest
from dirac_keras.deployment.quantization.moments import MOST_ROWS, ROWS_PER_TAP, Moments, rows_to_read
from dirac_keras.deployment.quantization.taps import Taps

LAYERS = {
    "strided": (lambda: keras.layers.Conv2D(4, 3, padding="same", strides=2), (9, 8, 6)),
    "dilated": (lambda: keras.layers.Conv2D(4, (3, 2), dilation_rate=2), (9, 8, 6)),
    "grouped": (lambda: keras.layers.Conv2D(6, 3, groups=3, padding="same"), (7, 7, 6)),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", strides=2), (7, 8, 6)),
    "causal": (lambda: keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (9, 6)),
    "dense": (lambda: keras.layers.Dense(5), (3, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_matrix_times_its_columns(name):
    make, shape = LAYERS[name]
    layer, inputs = make(), np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(inputs))
    taps, kernel = Taps(layer), keras.ops.convert_to_numpy(layer.kernel)
    product = np.einsum("prt,pft->rpf", taps.columns(inputs), taps.matrices(kernel)).reshape(outputs.shape)
    np.testing.assert_array_equal(taps.kernel(taps.matrices(kernel)), kernel)
    np.testing.assert_allclose(product, outputs, atol=2e-6)  # float32 sums in another order
    whole, rows = taps.columns(inputs), np.array([0, 3, 4])
    assert whole.shape == (taps.parts, taps.rows(inputs), taps.count)
    np.testing.assert_array_equal(taps.columns(inputs, rows), whole[:, rows])


def test_the_largest_weight_of_a_filter_becomes_the_largest_integer():
    matrix = np.array([[0.5, -1.27, 0.0], [0.0, 0.0, 0.0]])
    scales = filter_scales(matrix, 8)
    np.testing.assert_allclose(scales, [0.01, 1.0])
    np.testing.assert_array_equal(to_nearest(matrix, scales, 8), [[50, -127, 0], [0, 0, 0]])


def test_two_taps_that_see_the_same_make_good_each_others_error():
    # Both taps are multiplied by the same number, so only their sum counts: 7 + 0.4 + 0.4. Each alone is rounded to 0.
    gram = np.array([[1.0, 0.0, 0.0], [0.0, 4.0, 4.0], [0.0, 4.0, 4.0]])
    matrix, scales = np.array([[7.0, 0.4, 0.4]]), np.array([1.0])
    np.testing.assert_array_equal(to_nearest(matrix, scales, 4), [[7, 0, 0]])
    np.testing.assert_array_equal(round_by_data(matrix, gram, scales, 4), [[7, 0, 1]])


def test_uncorrelated_taps_are_rounded_to_the_nearest():
    matrix = np.random.default_rng(0).normal(size=(5, 12))
    scales = filter_scales(matrix, 8)
    gram = np.diag(np.random.default_rng(1).uniform(1, 2, 12))
    np.testing.assert_array_equal(round_by_data(matrix, gram, scales, 8), to_nearest(matrix, scales, 8))


def _tap_by_tap(matrix, gram, scales, bits, free):
    """The same as the papers write it: a tap at a time, each with the inverse of what is left, and no blocks."""
    limit, wanted = 2 ** (bits - 1) - 1, matrix / scales[:, None]
    gram = gram + 0.01 * np.mean(np.diag(gram)) * np.eye(len(gram))
    order, largest = np.argsort(-np.diag(gram), kind="stable"), np.where(free, 0, np.abs(wanted)).argmax(axis=1)

    def rounded(values, tap):
        integers = np.where(largest == tap, limit * np.sign(wanted[:, tap]), np.clip(np.rint(values), -limit, limit))
        return np.where(free[:, tap], values, integers)

    left = wanted.copy()
    for place, tap in enumerate(order):
        others = order[place:]
        inverse = np.linalg.inv(gram[np.ix_(others, others)])[0]
        integers = rounded(left[:, tap], tap)
        left[:, others[1:]] -= np.outer((left[:, tap] - integers) / inverse[0], inverse[1:])
        left[:, tap] = integers
    for _ in range(4):
        for tap in order:
            slope = (left - wanted) @ gram[:, tap]
            left[:, tap] = rounded(left[:, tap] - slope / gram[tap, tap], tap)
    return left


@pytest.mark.slow
@pytest.mark.parametrize(("taps", "bits"), [(5, 4), (40, 8), (BLOCK + 22, 4)])
def test_blocks_give_the_integers_of_one_tap_after_another(taps, bits):
    """No two numbers here are as near to a half as their sums are rounded, so no tie is decided by the order."""
    random = np.random.default_rng(taps)
    inputs = random.normal(size=(300, taps)) @ random.normal(size=(taps, taps)) / np.sqrt(taps)
    matrix, gram = random.normal(size=(9, taps)), inputs.T @ inputs
    for free in (np.zeros((9, taps), bool), random.uniform(size=(9, taps)) < 0.1):
        scales = filter_scales(np.where(free, 0, matrix), bits)
        expected = _tap_by_tap(matrix, gram, scales, bits, free)
        np.testing.assert_allclose(round_by_data(matrix, gram, scales, bits, free=free), expected, atol=1e-8)
        np.testing.assert_array_equal(
            np.rint(expected)[~free], round_by_data(matrix, gram, scales, bits, free=free)[~free]
        )


def test_a_hessian_is_factored_once_for_its_inverse_root_and_for_least_squares():
    random = np.random.default_rng(0)
    inputs, right = random.normal(size=(50, 12)) * np.arange(1, 13), random.normal(size=(3, 12))
    gram = inputs.T @ inputs
    gram[4] = gram[:, 4] = 0  # a tap that no image excites
    hessian = Hessian(gram)
    held = gram + hessian.damping * np.eye(12)
    np.testing.assert_allclose(hessian.solve(right) @ held, right, atol=1e-10)
    upper, order = hessian.inverse_root(), hessian.order
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(upper.T @ upper @ held[np.ix_(order, order)], np.eye(12), atol=1e-9)
    assert order[-1] == 4 and hessian.damping == pytest.approx(0.01 * np.trace(gram) / 12)


def _chain_with_identity_taps(depth=8, channels=12):
    """A plain chain as folding leaves a Dirac network: in each filter an identity, and learned taps far smaller."""
    random = np.random.default_rng(0)
    x = inputs = keras.Input((6, 6, channels))
    for block in range(depth):
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv{block}")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="head")(keras.layers.Flatten()(x)))
    for block in range(depth):
        kernel = random.normal(scale=0.05, size=(3, 3, channels, channels))
        kernel[1, 1] += np.eye(channels)
        model.get_layer(f"conv{block}").set_weights([kernel, random.normal(scale=0.1, size=channels)])
    return model


@pytest.fixture(scope="module")
def chain():
    random = np.random.default_rng(1)
    model = _chain_with_identity_taps()
    images = random.normal(size=(200, 6, 6, 12)).astype("float32")
    return model, images[:128], images[128:]


def _signal_to_noise(model, rounded, images):
    return signal_to_noise_db(*(keras.ops.convert_to_numpy(each(images)) for each in (model, rounded)))


@pytest.mark.slow
def test_what_the_data_say_is_worth_more_than_the_nearest_integer(chain):
    model, calibration, images = chain
    figures = {}
    for method in ("nearest", "bias", "data", "follow"):
        rounded, _ = round_weights(model, calibration, bits=8, method=method)
        figures[method] = _signal_to_noise(model, rounded, images)
    assert figures["bias"] > figures["nearest"]
    assert figures["data"] > figures["nearest"] + 1  # dB, on images that the rounding has not seen
    assert figures["follow"] > figures["data"] + 1


@pytest.mark.parametrize("method", METHODS)
def test_a_converter_that_chooses_its_own_scales_finds_the_same_integers(chain, method):
    model, calibration, _ = chain
    rounded, layers = round_weights(model, calibration[:32], bits=8, method=method)
    assert [layer.name for layer in layers] == [*(f"conv{block}" for block in range(8)), "head"]
    for layer in layers:
        of = rounded.get_layer(layer.name)
        matrix = Taps(of).matrices(keras.ops.convert_to_numpy(of.kernel))[0].astype("float64")
        scales = filter_scales(matrix, 8)
        integers = matrix / scales[:, None]
        np.testing.assert_allclose(integers, np.rint(integers), atol=1e-4)  # float32 of a weight: 127 * 2^-24
        assert layer.max_over_rms > 1


def test_a_method_that_is_none_is_named(chain):
    with pytest.raises(ValueError, match=r"method must be one of nearest, bias, data, follow\. Received method='gptq'"):
        round_weights(*chain[:2], method="gptq")


@pytest.mark.parametrize("filters", [1, 4])  # multiplied by the filters at once, and at the end
def test_moments_are_those_of_all_batches(filters):
    random = np.random.default_rng(0)
    x = (random.normal(size=(2, 50, 3)) + 1e3).astype("float32")  # far from 0: products would be rounding alone
    h = (x + random.normal(scale=0.1, size=x.shape)).astype("float32")
    matrices = random.normal(size=(2, filters, 3))  # what is wanted are their outputs: W x
    moments = Moments(matrices=matrices)
    for start in range(0, 50, 20):
        moments.add(x[:, start : start + 20], h[:, start : start + 20])
    for part in range(2):
        centred = [values[part].astype("float64") - values[part].mean(axis=0, dtype="float64") for values in (x, h)]
        np.testing.assert_allclose(moments.gram[part], centred[1].T @ centred[1], rtol=1e-4, atol=1e-3)
        expected = matrices[part] @ centred[0].T @ centred[1]
        np.testing.assert_allclose(moments.cross[part], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(moments.mean, h.mean(axis=1, dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(moments.mean_original, x.mean(axis=1, dtype="float64"), rtol=1e-6)


def test_large_images_are_read_in_part():
    random = np.random.default_rng(0)
    assert rows_to_read(1000, 9, 10, 10, random) is None
    rows = rows_to_read(100_000, 9, 1, 2, random)  # half of the images: half of the rows
    assert len(rows) == len(set(rows)) == MOST_ROWS // 2 and (np.diff(rows) > 0).all()
    assert len(rows_to_read(10**6, 5000, 1, 1, random)) == ROWS_PER_TAP * 5000
