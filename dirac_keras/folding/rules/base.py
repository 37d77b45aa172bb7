"""The rule of a layer type: how its weights absorb a scale and a shift, and which plain layer they make.

Every rule reads a layer's weights into float64, absorbs `scale * y + shift` on the side of its output or of its input,
and makes the plain Keras layer.
"""

import keras
import numpy as np

from dirac_keras.folding.misplaced import WHERE, adds_elsewhere
from dirac_keras.folding.package_objects import without_package_objects
from dirac_keras.folding.refused import Refused
from dirac_keras.graph.live_configs import live_config

RULES = {}  # layer type -> rule
# What a subclass may define and still compute the same: a subclass with other methods has no rule.
_ARGUMENTS_ALONE = {"__init__", "get_config", "from_config", "__module__", "__qualname__", "__doc__", "__annotations__"}
_ARGUMENTS_ALONE |= {"__static_attributes__", "__firstlineno__"}  # which Python 3.13 adds


def rule(*layer_types):
    """Registers a rule for exactly these layer types; None stands for one that this version of Keras lacks."""

    def register(rule_class):
        RULES.update(dict.fromkeys([kind for kind in layer_types if kind is not None], rule_class))
        return rule_class

    return register


def known_class(kind):
    """The class with a rule that a layer type computes the same as: its own, or one that it gives other arguments."""
    for base in kind.__mro__:
        if base in RULES:
            return base
        if vars(base).keys() - _ARGUMENTS_ALONE:
            return None
    return None


def to_float64(tensor):
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":  # TensorFlow makes no array of a single one
        tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor).astype("float64")


def read_kernel(layer):
    """The kernel of a layer in float64, LoRA's part in it.

    Keras gives that of a convolution with LoRA in the precision in which it computes, half precision perhaps.
    """
    if not getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return to_float64(layer.kernel)
    own = next(weight for weight in layer.weights if weight.name == "kernel")
    added = to_float64(layer.lora_kernel_a) @ to_float64(layer.lora_kernel_b)
    return to_float64(own) + layer.lora_alpha / layer.lora_rank * added


class Rule:
    """A layer whose weights can hold a scale and a shift of its output."""

    plain_class = None  # the class of the folded layer; None: the layer's own, see `known_class`
    differs_in_training = False  # whether training=True changes what it computes

    def __init__(self, layer):
        self.layer = layer
        self.has_new_kernel = False
        self.overrides = {}  # arguments of the plain layer that merged branches have changed
        self.read(layer)

    # What a rule fills in ---------------------------------------------------------------------------------
    def read(self, layer):
        """Reads the weights."""
        raise NotImplementedError

    def absorb_output(self, scale, shift):
        """Becomes `scale * y + shift`."""
        raise NotImplementedError

    def absorb_input(self, scale, shift):
        """Takes `x` where it took `scale * x + shift`."""
        raise NotImplementedError

    def weights(self):
        """The folded layer's weights, in Keras' order."""
        raise NotImplementedError

    # What folding calls -----------------------------------------------------------------------------------
    def channel_axis(self, rank):
        """Axis of the channels, of input and output alike, for tensors of this rank."""
        return 1 if getattr(self.layer, "data_format", "channels_last") == "channels_first" else rank - 1

    def fit(self, affine, shape, side):
        """`Numbers`, the affine in the form in which the layer absorbs it.

        Args:
            affine: `Affine` of the layer's input or output.
            shape: tuple, of that tensor.
            side: "input" or "output".

        Raises: Refused: if something differs where the layer has one number.
        """
        return self.along([self.channel_axis(len(shape))], affine, shape)

    @staticmethod
    def along(axes, affine, shape):
        numbers = affine.along(axes, [shape[axis] for axis in axes])
        if numbers is None:
            others = [str(axis) for axis in range(len(shape)) if axis not in axes and affine.differs_along([axis])]
            own = " and ".join(str(axis) for axis in axes)
            raise Refused(f"has its channels on axis {own}; the scale or the shift differs along another axis, "
                          f"{' and '.join(others)}")  # fmt: skip
        return numbers

    def refuses_output(self, shift):
        """Why nothing can be folded in behind the layer, or None."""
        return _nonlinear(self.layer) or _quantized(self.layer)

    def refuses_input(self, shift):
        """Why nothing can be folded in before the layer, or None."""
        return _quantized(self.layer)

    def config(self):
        config = without_package_objects(live_config(self.layer, known_class(type(self.layer))))
        if self.has_new_kernel:  # a constraint or LoRA was about the weights that are no more
            for key in ("lora_rank", "lora_alpha"):
                config.pop(key, None)
            config.update({key: None for key in config if key.endswith("_constraint")})
        return {**config, **self.overrides}

    def make_layer(self):
        return (self.plain_class or known_class(type(self.layer))).from_config(self.config())


class LinearRule(Rule):
    """A layer that is linear in its input: `y = W x + bias`, with one bias per output channel."""

    def __init__(self, layer):
        self.bias = to_float64(layer.bias) if getattr(layer, "bias", None) is not None else None
        super().__init__(layer)

    # What a rule fills in ---------------------------------------------------------------------------------
    def kernels(self):
        """The folded layer's weights without the bias, in Keras' order."""
        raise NotImplementedError

    def scale_kernel_output(self, scale):
        """Multiplies what the kernel produces, per output channel."""
        raise NotImplementedError

    def scale_kernel_input(self, scale):
        """Multiplies what the kernel reads, per input channel."""
        raise NotImplementedError

    def response(self, shift):
        """The output, without bias, for an input that is `shift[channel]` at every position."""
        raise NotImplementedError

    def sees_padding(self):
        """Why the layer's response to a constant is not the same at every position; None if it is."""
        return None

    def bias_shape(self, shape):
        """The shape in which the bias is added to an output of this shape."""
        axis = self.channel_axis(len(shape))
        return [length if place == axis else 1 for place, length in enumerate(shape)]

    # What folding calls -----------------------------------------------------------------------------------
    def fit(self, affine, shape, side):
        self.check_bias(affine, shape, side)
        return super().fit(affine, shape, side)

    def check_bias(self, affine, shape, side):
        """Raises: Refused: if the layer would add its bias in a wrong place."""
        written = shape if side == "output" else self.layer.compute_output_shape(shape)
        changes_bias = affine.has_shift() or (side == "output" and self.bias is not None)
        if changes_bias and adds_elsewhere(written, self.bias_shape(written)):
            raise Refused(f"adds its bias along another axis than its channels ({WHERE})")

    def refuses_input(self, shift):
        return super().refuses_input(shift) or (self.sees_padding() if np.any(shift != 0) else None)

    def absorb_output(self, scale, shift):
        self.scale_kernel_output(scale)
        self.bias = shift + (0.0 if self.bias is None else scale * self.bias)
        self.has_new_kernel = True

    def absorb_input(self, scale, shift):
        if np.any(shift != 0):
            self.bias = self.response(shift) + (0.0 if self.bias is None else self.bias)
        self.scale_kernel_input(scale)
        self.has_new_kernel = True

    def config(self):
        return {**super().config(), "use_bias": self.bias is not None}

    def weights(self):
        return self.kernels() + ([] if self.bias is None else [self.bias])


def _nonlinear(layer):
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return None
    return f"has the activation '{getattr(activation, '__name__', type(activation).__name__)}'"


def _quantized(layer):
    mode = getattr(layer, "quantization_mode", None)
    return None if mode is None else f"is quantized ({mode})"
