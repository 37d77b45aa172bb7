"""Rules of Keras' layers with kernels: dense ones and convolutions of every kind."""

import keras

from dirac_keras.folding.rules.base import LinearRule, read_kernel, rule, to_float64


class OneKernelRule(LinearRule):
    """Kernel `(..., input channels, output channels)` and bias."""

    def read(self, layer):
        self.kernel = read_kernel(layer)

    def kernels(self):
        return [self.kernel]

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale

    def scale_kernel_input(self, scale):
        self.kernel = self.kernel * scale[:, None]


@rule(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
class ConvRule(OneKernelRule):
    """Kernel `(*kernel_size, in_channels // groups, filters)`."""

    def scale_kernel_input(self, scale):
        self.kernel = (self._by_group() * self._per_group(scale)).reshape(self.kernel.shape)

    def response(self, shift):
        summed = self._by_group() * self._per_group(shift)
        return summed.sum(axis=tuple(range(summed.ndim - 2))).reshape(-1)

    def sees_padding(self):
        return _padding_reason(self.layer)

    def _by_group(self):  # (*kernel_size, channels of a group, groups, filters of a group)
        groups = self.layer.groups
        return self.kernel.reshape(*self.kernel.shape[:-1], groups, self.kernel.shape[-1] // groups)

    def _per_group(self, values):  # (channels of a group, groups, 1)
        return values.reshape(self.layer.groups, -1).T[..., None]


@rule(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
class DepthwiseConvRule(OneKernelRule):
    """Kernel `(*kernel_size, in_channels, multiplier)`; output channel `c * multiplier + m`."""

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale.reshape(self.kernel.shape[-2:])

    def response(self, shift):
        return _depthwise_response(self.kernel, shift)

    def sees_padding(self):
        return _padding_reason(self.layer)


@rule(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
class SeparableConvRule(LinearRule):
    """A depthwise kernel, then a pointwise one `(1, ..., in_channels * multiplier, filters)`."""

    def read(self, layer):
        self.depthwise = to_float64(layer.depthwise_kernel)
        self.pointwise = to_float64(layer.pointwise_kernel)

    def kernels(self):
        return [self.depthwise, self.pointwise]

    def scale_kernel_output(self, scale):
        self.pointwise = self.pointwise * scale

    def scale_kernel_input(self, scale):
        self.depthwise = self.depthwise * scale[:, None]

    def response(self, shift):
        return _depthwise_response(self.depthwise, shift) @ self.pointwise.reshape(-1, self.pointwise.shape[-1])

    def sees_padding(self):
        return _padding_reason(self.layer)


@rule(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
class ConvTransposeRule(OneKernelRule):
    """Kernel `(*kernel_size, filters, in_channels)`."""

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale[:, None]

    def scale_kernel_input(self, scale):
        self.kernel = self.kernel * scale

    def sees_padding(self):
        return "overlaps its kernel unevenly at the borders, so a shift does not become one bias"


@rule(keras.layers.Dense)
class DenseRule(OneKernelRule):
    """Kernel `(in_units, units)`, on the last axis of any rank."""

    def response(self, shift):
        return shift @ self.kernel


def _padding_reason(layer):
    if layer.padding == "valid" or all(size == 1 for size in layer.kernel_size):
        return None
    return f"pads with zeros (padding='{layer.padding}'), which the shift would have to reach too"


def _depthwise_response(kernel, shift):
    """`(in_channels * multiplier,)`, what a depthwise kernel makes of `shift[channel]` at every position."""
    taps = kernel.sum(axis=tuple(range(kernel.ndim - 2)))  # (in_channels, multiplier)
    return (taps * shift[:, None]).reshape(-1)
