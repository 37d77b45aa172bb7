"""A layer's kernel as what is trained: integers of a grid, before they are rounded, and the grid's steps."""

import keras
import numpy as np
from keras import ops

from dirac_keras.deployment.quantization.grids import filter_scales, largest_integer, to_weights
from dirac_keras.deployment.quantization.training.straight_through import round_to_grid


class GridKernel(keras.layers.Layer):
    """The kernel and the bias of one layer, on the grid that a per-channel converter will choose.

    All that is trained is counted in steps of the grid, so that one learning rate fits filters of any size: the
    weights; the step itself, by how far it moves the largest weight; the bias, by what a step of every weight, each up
    or down, moves the output.
    The largest weight of each filter is the largest integer and stays it: a converter that looks for the scale anew
    finds the same one. A filter of zeros stays zero.

    Args:
        layer: of `network.QUANTIZED`, whose kernel and bias are the start.
        taps: its `Taps`.
        bits: int, of a weight.
        input_rms: number, root mean square of what the layer is given.
        free: bool array of the kernel's shape, weights that are no integers and stay as they are; None: none.
    """

    def __init__(self, layer, taps, bits, input_rms=1.0, free=None):
        super().__init__(name=f"{layer.name}_grid", dtype="float32")
        self._taps = taps
        self.limit = largest_integer(bits)
        whole = taps.matrices(_float64(layer.kernel))  # (parts, filters, taps)
        self._free = np.zeros(whole.shape, bool) if free is None else taps.matrices(free)
        self._of_free = np.where(self._free, whole, 0.0)
        matrices = np.where(self._free, 0.0, whole)
        scales = np.stack([filter_scales(matrix, bits) for matrix in matrices])[..., None]
        start = np.clip(matrices / scales, -self.limit, self.limit)
        self._scales = scales
        self._is_fixed = _are_largest(matrices) | (matrices == 0).all(axis=-1, keepdims=True)
        self._fixed = np.where(matrices == 0, 0.0, self.limit * np.sign(matrices))
        self.latent = self._add("latent", start)
        self.stretch = self._add("stretch", np.zeros_like(scales))
        self.shift = None
        if layer.use_bias:
            self._bias = _float64(layer.bias)
            self._bias_unit = scales.reshape(-1) * max(float(input_rms), 1e-12) * np.sqrt(matrices.shape[-1])
            self.shift = self._add("shift", np.zeros_like(self._bias))
        self.built = True

    def _add(self, name, start):
        start = start.astype("float32")
        return self.add_weight(name=name, shape=start.shape, initializer=lambda shape, dtype: ops.cast(start, dtype))

    def kernel(self):
        """Tensor of the layer's shape, with the straight-through gradient."""
        integers = round_to_grid(ops.convert_to_tensor(self.latent), self.limit)
        fixed = ops.convert_to_tensor(self._fixed.astype("float32"))
        integers = ops.where(self._is_fixed, fixed, integers)
        stretch = 1.0 + ops.convert_to_tensor(self.stretch) / self.limit
        new = integers * ops.convert_to_tensor(self._scales.astype("float32")) * stretch
        return self._in_shape(ops.where(self._free, ops.convert_to_tensor(self._of_free.astype("float32")), new))

    def bias(self):
        """Tensor `(channels,)`; None without a bias."""
        if self.shift is None:
            return None
        unit = ops.convert_to_tensor(self._bias_unit.astype("float32"))
        return ops.convert_to_tensor(self._bias.astype("float32")) + unit * ops.convert_to_tensor(self.shift)

    def write(self, layer):
        """Give a layer the kernel, each weight an integer of the grid, and the bias."""
        integers = np.rint(np.clip(_float64(self.latent), -self.limit, self.limit))
        integers = np.where(self._is_fixed, self._fixed, integers)
        scales = self._scales * (1.0 + _float64(self.stretch) / self.limit)
        new = np.stack([to_weights(part, scale[:, 0]) for part, scale in zip(integers, scales, strict=True)])
        layer.kernel.assign(self._taps.kernel(np.where(self._free, self._of_free, new)))
        if self.shift is not None:
            layer.bias.assign(self._bias + self._bias_unit * _float64(self.shift))

    def _in_shape(self, matrices):
        if self._taps.is_dense:
            return ops.transpose(matrices[0])
        return ops.reshape(ops.transpose(matrices, (2, 0, 1)), self._taps.kernel_shape)


def _are_largest(matrices):
    """Which weight of each filter is the largest, one of them if several are."""
    found = np.zeros(matrices.shape, bool)
    np.put_along_axis(found, np.abs(matrices).argmax(axis=-1)[..., None], True, axis=-1)
    return found


def _float64(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")
