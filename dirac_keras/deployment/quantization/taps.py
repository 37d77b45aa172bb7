"""A layer with a kernel as a matrix: filters by taps, and the data that each tap is multiplied by."""

import math

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

CHUNK_BYTES = 256 << 20  # of the matrix of one layer's inputs, float64, that is held at a time


class Taps:
    """Reads and writes the kernel of `Dense`, `Conv1D/2D/3D` and `DepthwiseConv1D/2D` layers, channels last.

    A depthwise layer has one matrix a channel; a grouped convolution one a group; all others have one.
    """

    def __init__(self, layer):
        self.layer = layer
        self.kernel_shape = tuple(layer.kernel.shape)
        self.is_depthwise = isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D))
        self.is_dense = isinstance(layer, keras.layers.Dense)
        if self.is_dense:
            self.parts = 1
        else:
            self.parts = self.kernel_shape[-2] if self.is_depthwise else layer.groups

    def matrices(self, kernel):
        """`(parts, filters of a part, taps)` of a kernel in Keras' layout."""
        if self.is_dense:
            return kernel.T[None]
        if self.is_depthwise:  # (*size, channels, multiplier): a part is a channel
            flat = kernel.reshape(-1, *self.kernel_shape[-2:])  # (taps, channels, multiplier)
            return flat.transpose(1, 2, 0)
        flat = kernel.reshape(-1, self.parts, self.kernel_shape[-1] // self.parts)  # (taps, groups, filters)
        return flat.transpose(1, 2, 0)

    def kernel(self, matrices):
        """The inverse of `matrices`."""
        if self.is_dense:
            return matrices[0].T
        return matrices.transpose(2, 0, 1).reshape(self.kernel_shape)

    def chunk(self, input_shape):
        """How many samples of this shape, without the batch axis, have columns of some `CHUNK_BYTES`."""
        per_position = 8 * math.prod(self.kernel_shape) // self.kernel_shape[-1]
        return max(1, CHUNK_BYTES // (per_position * max(1, math.prod(input_shape[:-1]))))

    @property
    def count(self):
        """Taps of a filter."""
        whole = math.prod(self.kernel_shape[:-1])
        return whole // self.kernel_shape[-2] if self.is_depthwise else whole

    def rows(self, inputs):
        """How many rows `columns` has: samples times positions."""
        return math.prod(inputs.shape[:-1] if self.is_dense else self._windows(inputs).shape[: self._axes])

    def columns(self, inputs, rows=None):
        """`(parts, samples x positions, taps)`: what each tap is multiplied by at each position of the output.

        Args:
            inputs: array, of the layer.
            rows: int array, of those wanted; None for all.
        """
        inputs = np.asarray(inputs, "float32")
        if self.is_dense:
            flat = inputs.reshape(1, -1, inputs.shape[-1])
            return flat if rows is None else flat[:, rows]
        windows = self._windows(inputs)  # (samples, *positions, channels, *size)
        if rows is not None:  # before the copy, which is `size` times as large as the inputs
            windows = windows[np.unravel_index(rows, windows.shape[: self._axes])]
        channels = inputs.shape[-1]
        size = math.prod(self.layer.kernel_size)
        windows = np.moveaxis(windows, -1 - len(self.layer.kernel_size), -1)  # (..., *size, channels)
        flat = windows.reshape(-1, size, channels)
        if self.is_depthwise:
            return np.ascontiguousarray(flat.transpose(2, 0, 1))
        per_group = channels // self.parts
        flat = flat.reshape(-1, size, self.parts, per_group).transpose(2, 0, 1, 3)
        return np.ascontiguousarray(flat).reshape(self.parts, -1, size * per_group)

    @property
    def _axes(self):
        return 1 + len(self.layer.kernel_size)

    def _windows(self, inputs):
        layer = self.layer
        spatial = len(layer.kernel_size)
        pads, windows = [(0, 0)], []
        for axis in range(spatial):
            window = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
            windows.append(window)
            length, stride = inputs.shape[1 + axis], layer.strides[axis]
            pad = max((math.ceil(length / stride) - 1) * stride + window - length, 0)
            pads.append({"same": (pad // 2, pad - pad // 2), "causal": (window - 1, 0)}.get(layer.padding, (0, 0)))
        padded = np.pad(inputs, [*pads, (0, 0)])
        view = sliding_window_view(padded, windows, axis=tuple(range(1, spatial + 1)))
        # (samples, *positions, channels, *window)
        steps = tuple(slice(None, None, stride) for stride in layer.strides)
        gaps = tuple(slice(None, None, dilation) for dilation in layer.dilation_rate)
        return view[(slice(None), *steps, slice(None), *gaps)]
