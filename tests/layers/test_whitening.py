"""The whitened first convolution: what it does to the images it was adapted to, and that it does not train."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import fold
from dirac_keras.layers import WhitenedConv2D
from dirac_keras.layers.whitening import whitening_kernel
from tests.layer_checks import check_layer


def correlated_images(count=40, size=6, channels=2):
    """Images whose neighbours and channels are alike, as photographs' are."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(count, size + 1, size + 1, channels))
    smooth = noise[:, 1:, 1:] + noise[:, :-1, 1:] + 0.5 * noise[:, 1:, :-1]
    return (smooth + smooth.mean(axis=-1, keepdims=True) + 0.3).astype("float32")


def adapted(images, epsilon=0.0):
    layer = WhitenedConv2D(2 * 4 * images.shape[-1], 2, epsilon=epsilon, use_bias=False)
    layer.build((None, *images.shape[1:]))
    layer.adapt(images)
    return layer


def test_contract_of_a_layer(tmp_path):
    check_layer(lambda: WhitenedConv2D(16, 2), (2, 5, 6, 2), (2, 4, 5, 16), ["bias", "kernel"], tmp_path)


def test_kernel_of_two_channels_by_hand():
    """Patches of one pixel, (2, 0) or (0, 1): moments diag(2, 1/2), so the filters divide by sqrt(2) and sqrt(1/2)."""
    images = np.array([[2.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 1, 2)
    kernel = whitening_kernel(images, (1, 1), epsilon=0.0)
    expected = np.array([[1 / np.sqrt(2), 0.0], [0.0, np.sqrt(2)]])
    np.testing.assert_allclose(kernel[0, 0], np.concatenate([expected, -expected], axis=1), rtol=1e-12)
    assert whitening_kernel(images, (1, 1), epsilon=2.0)[0, 0, 0, 0] == pytest.approx(0.5)  # 1 / sqrt(2 + 2)


def test_outputs_are_uncorrelated_and_of_size_one_on_the_images():
    """float32 products of 8 numbers; without whitening the moments are off by their size."""
    images = correlated_images()
    outputs = ops.convert_to_numpy(adapted(images)(images)).reshape(-1, 16).astype("float64")
    moments = outputs.T @ outputs / len(outputs)
    identity = np.eye(8)
    np.testing.assert_allclose(moments, np.block([[identity, -identity], [-identity, identity]]), atol=1e-4)


def test_same_images_give_the_same_kernel_and_the_order_of_batches_does_not_matter():
    images = correlated_images(count=1100)  # more than are taken at once
    kernel = whitening_kernel(images)
    np.testing.assert_array_equal(whitening_kernel(images), kernel)
    np.testing.assert_allclose(whitening_kernel(images[::-1]), kernel, rtol=1e-9, atol=1e-9)  # float64 sums


def test_kernel_does_not_train_and_the_bias_does():
    layer = WhitenedConv2D(16, 2, kernel_regularizer="l2")
    layer.build((None, 4, 4, 2))
    assert [weight.name for weight in layer.trainable_weights] == ["bias"]
    assert not layer.losses  # a kernel that does not train has no penalty


def test_folded_it_is_a_plain_convolution_with_the_same_outputs():
    images = correlated_images()
    layer = adapted(images)
    model = keras.Sequential([keras.Input(images.shape[1:]), layer, keras.layers.BatchNormalization()])
    model.layers[-1].set_weights([np.full(16, value) for value in (2.0, 0.5, 0.1, 3.0)])
    folded, _ = fold(model)
    (plain,) = [layer for layer in folded.layers if getattr(layer, "kernel", None) is not None]
    assert type(plain) is keras.layers.Conv2D and plain.kernel.trainable
    expected = ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(ops.convert_to_numpy(folded(images)), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"filters": 24},
            r"filters must be 16, two for each number of a patch of 2 x 2 pixels with 2 channels. Re.*=24",
        ),
        ({"filters": 16, "groups": 2}, r"groups and dilation_rate must be 1. Received groups=2"),
        ({"filters": 16, "dilation_rate": 2}, r"must be 1. Received groups=1 and dilation_rate=\(2, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WhitenedConv2D(**options).build((None, 4, 4, 2))
