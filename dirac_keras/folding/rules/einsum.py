"""The rule of `EinsumDense`, whose kernel may share several axes with its input and its output."""

import math

import keras
import numpy as np

from dirac_keras.folding.affine import Numbers
from dirac_keras.folding.refused import Refused
from dirac_keras.folding.rules.base import LinearRule, read_kernel, rule


@rule(keras.layers.EinsumDense)
class EinsumDenseRule(LinearRule):
    """Scales and shifts have an axis for each label that input or output shares with the kernel.

    The bias is kept with an axis for each label of the output, of length 1 where it has none.
    """

    def read(self, layer):
        read, written = layer.equation.replace(" ", "").split("->")
        self._input, self._kernel = read.split(",")
        self._output = written.replace("...", "")
        self._bias_axes = layer.bias_axes or ""
        self.kernel = read_kernel(layer)
        if self.bias is not None:
            shape = self.bias.shape[: len(self.bias.shape) - self._elided_behind()]
            self.bias = self.bias.reshape([1] * (len(self._output) - len(shape)) + list(shape))

    @property
    def is_dense(self):
        """Whether it is a dense layer on the last axis, as `...a,ab->...b` or `abc,cd->abd`, bias and all."""
        read = self._input.replace("...", "")
        is_on_the_last = not self._input.endswith("...") and len(self._kernel) == 2
        return (
            is_on_the_last
            and self._kernel == read[-1:] + self._output[-1:]
            and read[:-1] == self._output[:-1]
            and self._output[-1] not in read
            and self._bias_axes in ("", self._output[-1])
        )

    def set_dense(self, kernel, bias):
        """Makes it another dense layer: `(in, out)` and `(out,)`."""
        self.kernel, self.has_new_kernel = kernel, True
        self.overrides = {"output_shape": [*self.layer.get_config()["output_shape"][:-1], kernel.shape[-1]]}
        if self.bias is not None or np.any(bias != 0.0):
            self._set_bias(bias.reshape([1] * (len(self._output) - 1) + [-1]))

    def kernels(self):
        return [self.kernel]

    def bias_shape(self, shape):
        labels = self._labels(self._output, len(shape))
        has_bias = {*self._bias_axes, *self._kernel}
        return [length if label in has_bias else 1 for label, length in zip(labels, shape, strict=True)]

    def fit(self, affine, shape, side):
        labels = self._labels(self._input if side == "input" else self._output, len(shape))
        if len(set(labels) - {None}) + labels.count(None) != len(labels):
            raise Refused(f"repeats a label in its equation '{self.layer.equation}'")
        self.check_bias(affine, shape, side)
        axes = [axis for axis, label in enumerate(labels) if label and label in self._kernel]
        numbers = self.along(axes, affine, shape)
        if np.any(numbers.shift != 0.0) and not (self._bias_axes or self._shared(self._output)):
            raise Refused("has no axis for a bias")
        if side == "output" or not np.any(numbers.shift != 0.0):
            return numbers
        return Numbers(numbers.scale, numbers.shift * self._summed(labels, shape))

    def absorb_output(self, scale, shift):
        labels = self._shared(self._output)
        self.kernel = np.einsum(f"{self._kernel},{labels}->{self._kernel}", self.kernel, scale)
        old = 0.0 if self.bias is None else self._in_bias(scale) * self.bias
        self._set_bias(self._in_bias(shift) + old)

    def absorb_input(self, scale, shift):
        labels = self._shared(self._input.replace("...", ""))
        if np.any(shift != 0.0):
            response = np.einsum(f"{self._kernel},{labels}->{self._shared(self._output)}", self.kernel, shift)
            self._set_bias(self._in_bias(response) + (0.0 if self.bias is None else self.bias))
        self.kernel = np.einsum(f"{self._kernel},{labels}->{self._kernel}", self.kernel, scale)
        self.has_new_kernel = True

    def config(self):
        config = super().config()
        del config["use_bias"]
        return {**config, "bias_axes": self._bias_axes or None}

    def weights(self):
        if self.bias is None:
            return [self.kernel]
        first = min(self._output.index(label) for label in self._bias_axes)
        return [self.kernel, self.bias.reshape(self.bias.shape[first:] + (1,) * self._elided_behind())]

    def _shared(self, labels):
        return "".join(label for label in labels if label in self._kernel)

    def _labels(self, labels, rank):
        """A label for each axis, None for those that the equation leaves out."""
        labels = labels.replace("...", "")
        elided = [None] * (rank - len(labels))
        return [*elided, *labels] if self._is_left() else [*labels, *elided]

    def _is_left(self):
        return self.layer.equation.strip().startswith("...")

    def _elided_behind(self):
        return 0 if self._is_left() else self.layer.input_spec.ndim - len(self._input.replace("...", ""))

    def _summed(self, labels, shape):
        """How many elements are summed up along axes that neither the kernel nor the output has."""
        others = {None, *self._kernel, *self._output}
        lengths = [length for label, length in zip(labels, shape, strict=True) if label not in others]
        if None in lengths:
            raise Refused("sums up along an axis of unknown length")
        return math.prod(lengths)

    def _in_bias(self, values):
        """Values with an axis for each label that the output shares with the kernel, in the form of the bias."""
        lengths = iter(values.shape)
        return values.reshape([next(lengths) if label in self._kernel else 1 for label in self._output])

    def _set_bias(self, bias):
        self._bias_axes = "".join(label for label in self._output if label in self._kernel or label in self._bias_axes)
        self.bias, self.has_new_kernel = bias, True
