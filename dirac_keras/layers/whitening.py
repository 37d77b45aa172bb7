"""A first convolution that is computed from images, not trained."""

import keras
import numpy as np

from dirac_keras.errors import UserError

# Beside the eigenvalues of images of unit variance: it keeps directions that hold noise alone from being blown up.
EPSILON = 5e-4


@keras.saving.register_keras_serializable(package="dirac_keras")
class WhitenedConv2D(keras.layers.Conv2D):
    """Convolution whose outputs are uncorrelated and of equal size on the images that `adapt` is given.

    Its filters are the eigenvectors of the second moments of image patches, each divided by the root of its eigenvalue,
    and their negatives, so that a ReLU loses nothing. The kernel is no trainable weight; the bias is. Before `adapt`
    the kernel is random.

    Args:
        filters: int, twice the numbers in a patch: `2 * height * width * in_channels` of the kernel.
        kernel_size: int or pair of int, pixels of a patch.
        epsilon: number of 0 or more, added to the eigenvalues.

    Further arguments as `keras.layers.Conv2D`; neither groups nor dilation.
    Input shape: `(batch, height, width, in_channels)`. Output shape: `(batch, height', width', filters)`.
    Raises: ValueError: if `filters` does not fit the patch.
    Source: Jordan 2024, arXiv:2404.00498, section 3.2, after Page 2019 and hlb-CIFAR10.
    """

    def __init__(self, filters, kernel_size=2, epsilon=EPSILON, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        if self.groups != 1 or any(rate != 1 for rate in self.dilation_rate):
            raise UserError(
                "WhitenedConv2D looks at whole patches: groups and dilation_rate must be 1. Received "
                f"groups={self.groups} and dilation_rate={self.dilation_rate}."
            )
        self.epsilon = epsilon

    def add_weight(self, *args, **kwargs):
        if kwargs.get("name") == "kernel":
            kwargs["trainable"] = False
            kwargs["regularizer"] = None
        return super().add_weight(*args, **kwargs)

    def build(self, input_shape):
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        expected = None if channels is None else 2 * self.kernel_size[0] * self.kernel_size[1] * channels
        if self.filters != expected:
            raise UserError(
                f"filters must be {expected}, two for each number of a patch of {self.kernel_size[0]} x "
                f"{self.kernel_size[1]} pixels with {channels} channels. Received filters={self.filters}."
            )
        super().build(input_shape)

    def adapt(self, images):
        """Compute the kernel from `images`, a NumPy array `(count, height, width, channels)` as the layer takes them.

        The same images give the same kernel.
        """
        self.kernel.assign(whitening_kernel(images, self.kernel_size, self.epsilon))

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def whitening_kernel(images, kernel_size=(2, 2), epsilon=EPSILON):
    """The kernel of `WhitenedConv2D`, `(*kernel_size, channels, 2 * patch)` in float64.

    With `E` the matrix of eigenvectors and `v` the eigenvalues of the mean of `p p^T` over all patches `p`, its filters
    are the columns of `E diag(v + epsilon)^(-1/2)`, the largest eigenvalue first, then their negatives.

    Args:
        images: array `(count, height, width, channels)`, at least as large as the kernel.
        kernel_size: pair of int.
        epsilon: number.
    """
    rows, columns = kernel_size
    images = np.asarray(images, "float64")
    height, width, channels = images.shape[1:]
    size = rows * columns * channels
    moments = np.zeros((size, size))
    for start in range(0, len(images), 500):  # patches of all at once would take gigabytes
        part = images[start : start + 500]
        patches = np.stack(
            [
                part[:, row : height - rows + row + 1, column : width - columns + column + 1]
                for row in range(rows)
                for column in range(columns)
            ],
            axis=3,
        ).reshape(-1, size)
        moments += patches.T @ patches
    moments /= len(images) * (height - rows + 1) * (width - columns + 1)
    values, vectors = np.linalg.eigh(moments)  # from the smallest on
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(size)]
    scaled = vectors * np.sign(largest) / np.sqrt(np.maximum(values, 0.0) + epsilon)  # an eigenvector has no sign
    return np.concatenate([scaled, -scaled], axis=1).reshape(rows, columns, channels, 2 * size)
