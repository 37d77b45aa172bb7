"""What folding knows of each layer type: one rule per type, in `RULES`.

Every rule reads a layer's weights into float64, absorbs `scale * y + shift` (one number per channel) on the
side of its output or of its input, and makes the plain Keras layer. A new layer type needs a class here,
nothing else.
"""

import keras
import numpy as np

from dirac_keras.layers import BatchNormalization, DiracConv1D, DiracConv2D, DiracConv3D, DiracDense

RULES = {}  # exact type -> rule; a subclass may compute something else, so it has no rule


def rule(*layer_types):
    """Registers a rule for exactly these layer types."""

    def register(rule_class):
        RULES.update(dict.fromkeys(layer_types, rule_class))
        return rule_class

    return register


def to_float64(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")


class Rule:
    """A layer that is linear in its input: `y = W x + bias`, with one bias per output channel."""

    plain_class = None  # the class of the folded layer; None: the layer's own

    def __init__(self, layer):
        self.layer = layer
        self.has_new_kernel = False
        self.bias = to_float64(layer.bias) if getattr(layer, "bias", None) is not None else None
        self.read(layer)

    # What a rule fills in ---------------------------------------------------------------------------------
    def read(self, layer):
        """Reads the weights."""
        raise NotImplementedError

    def kernels(self):
        """The folded layer's weights without the bias, in Keras' order."""
        raise NotImplementedError

    def output_channels(self):
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

    # What folding calls -----------------------------------------------------------------------------------
    def channel_axis(self, rank):
        """Axis of the channels, of input and output alike, for tensors of this rank."""
        return 1 if getattr(self.layer, "data_format", "channels_last") == "channels_first" else rank - 1

    def refuses_output(self):
        """Why nothing can be folded in behind the layer, or None."""
        return _nonlinear(self.layer) or _quantized(self.layer)

    def refuses_input(self, shift):
        """Why nothing can be folded in before the layer, or None."""
        return _quantized(self.layer) or (self.sees_padding() if np.any(shift != 0) else None)

    def absorb_output(self, scale, shift):
        """Becomes `scale * y + shift`."""
        self.scale_kernel_output(scale)
        self.bias = shift + (0.0 if self.bias is None else scale * self.bias)
        self.has_new_kernel = True

    def absorb_input(self, scale, shift):
        """Takes `x` where it took `scale * x + shift`."""
        if np.any(shift != 0):
            self.bias = self.response(shift) + (0.0 if self.bias is None else self.bias)
        self.scale_kernel_input(scale)
        self.has_new_kernel = True

    def config(self):
        config = without_package_objects(self.layer.get_config())
        config["use_bias"] = self.bias is not None
        if self.has_new_kernel:  # a constraint or LoRA was about the weights that are no more
            for key in ("lora_rank", "lora_alpha"):
                config.pop(key, None)
            config.update({key: None for key in config if key.endswith("_constraint")})
        return config

    def make_layer(self):
        return (self.plain_class or type(self.layer)).from_config(self.config())

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


def without_package_objects(config):
    """Drops initializers, regularizers, constraints of dirac_keras: a folded model must load without it."""
    kept = {}
    for key, value in config.items():
        is_ours = isinstance(value, dict) and _is_ours(value)
        if is_ours and key.endswith("_initializer"):
            continue  # the default; the weights are set anyway
        kept[key] = None if is_ours and key.endswith(("_regularizer", "_constraint")) else value
    return kept


def _is_ours(serialized):
    names = (serialized.get("module") or "", serialized.get("registered_name") or "")
    return names[0].split(".")[0] == "dirac_keras" or names[1].startswith("dirac_keras>")


@rule(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
class ConvRule(Rule):
    """Kernel `(*kernel_size, in_channels // groups, filters)`."""

    def read(self, layer):
        self.kernel = to_float64(layer.kernel)

    def kernels(self):
        return [self.kernel]

    def output_channels(self):
        return self.kernel.shape[-1]

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale

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


def _padding_reason(layer):
    if layer.padding == "valid" or all(size == 1 for size in layer.kernel_size):
        return None
    return f"pads with zeros (padding='{layer.padding}'), which the shift would have to reach too"


@rule(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
class DepthwiseConvRule(Rule):
    """Kernel `(*kernel_size, in_channels, multiplier)`; output channel `c * multiplier + m`."""

    def read(self, layer):
        self.kernel = to_float64(layer.kernel)

    def kernels(self):
        return [self.kernel]

    def output_channels(self):
        return self.kernel.shape[-1] * self.kernel.shape[-2]

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale.reshape(self.kernel.shape[-2:])

    def scale_kernel_input(self, scale):
        self.kernel = self.kernel * scale[:, None]

    def response(self, shift):
        taps = self.kernel.sum(axis=tuple(range(self.kernel.ndim - 2)))  # (in_channels, multiplier)
        return (taps * shift[:, None]).reshape(-1)

    def sees_padding(self):
        return _padding_reason(self.layer)


@rule(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
class SeparableConvRule(Rule):
    """A depthwise kernel, then a pointwise one `(1, ..., in_channels * multiplier, filters)`."""

    def read(self, layer):
        self.depthwise = to_float64(layer.depthwise_kernel)
        self.pointwise = to_float64(layer.pointwise_kernel)

    def kernels(self):
        return [self.depthwise, self.pointwise]

    def output_channels(self):
        return self.pointwise.shape[-1]

    def scale_kernel_output(self, scale):
        self.pointwise = self.pointwise * scale

    def scale_kernel_input(self, scale):
        self.depthwise = self.depthwise * scale[:, None]

    def response(self, shift):
        taps = self.depthwise.sum(axis=tuple(range(self.depthwise.ndim - 2)))  # (in_channels, multiplier)
        return (taps * shift[:, None]).reshape(-1) @ self.pointwise.reshape(-1, self.pointwise.shape[-1])

    def sees_padding(self):
        return _padding_reason(self.layer)


@rule(*(getattr(keras.layers, name) for name in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")))
class ConvTransposeRule(Rule):
    """Kernel `(*kernel_size, filters, in_channels)`."""

    def read(self, layer):
        self.kernel = to_float64(layer.kernel)

    def kernels(self):
        return [self.kernel]

    def output_channels(self):
        return self.kernel.shape[-2]

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale[:, None]

    def scale_kernel_input(self, scale):
        self.kernel = self.kernel * scale

    def sees_padding(self):
        return "overlaps its kernel unevenly at the borders, so a shift does not become one bias"


@rule(keras.layers.Dense)
class DenseRule(Rule):
    """Kernel `(in_units, units)`, on the last axis of any rank."""

    def read(self, layer):
        self.kernel = to_float64(layer.kernel)

    def kernels(self):
        return [self.kernel]

    def output_channels(self):
        return self.kernel.shape[-1]

    def scale_kernel_output(self, scale):
        self.kernel = self.kernel * scale

    def scale_kernel_input(self, scale):
        self.kernel = self.kernel * scale[:, None]

    def response(self, shift):
        return shift @ self.kernel


_DIRAC_ARGUMENTS = (
    "use_identity_scale",
    "use_weight_norm",
    "identity_scale_initializer",
    "filter_scale_initializer",
    "identity_scale_regularizer",
    "filter_scale_regularizer",
    "identity_scale_constraint",
    "filter_scale_constraint",
    "kernel_initializer",  # meant for the raw kernel
    "kernel_regularizer",
    "kernel_constraint",
)


class _FromDirac:
    """The effective kernel in a plain layer; what was meant for the raw one, as a constraint, is dropped."""

    def read(self, layer):
        self.kernel = to_float64(layer.effective_kernel())

    def config(self):
        return {key: value for key, value in super().config().items() if key not in _DIRAC_ARGUMENTS}


@rule(DiracConv1D)
class DiracConv1DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv1D


@rule(DiracConv2D)
class DiracConv2DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv2D


@rule(DiracConv3D)
class DiracConv3DRule(_FromDirac, ConvRule):
    plain_class = keras.layers.Conv3D


@rule(DiracDense)
class DiracDenseRule(_FromDirac, DenseRule):
    plain_class = keras.layers.Dense


@rule(keras.layers.BatchNormalization, BatchNormalization)
class BatchNormalizationRule(Rule):
    """`scale * x + shift` at inference, also with renorm; another one behind it merges into gamma, beta."""

    plain_class = keras.layers.BatchNormalization

    def read(self, layer):
        self.gamma = to_float64(layer.gamma) if layer.scale else None
        self.beta = to_float64(layer.beta) if layer.center else None
        self.statistics = [to_float64(variable) for variable in _statistics(layer)]

    def affine(self):
        """The scale and shift per channel at inference."""
        mean, variance = self.statistics[:2]
        scale = (1.0 if self.gamma is None else self.gamma) / np.sqrt(variance + self.layer.epsilon)
        return scale, (0.0 if self.beta is None else self.beta) - mean * scale

    def channel_axis(self, rank):
        return self.layer.axis % rank

    def output_channels(self):
        return self.statistics[0].size

    def absorb_output(self, scale, shift):
        self.gamma = scale * (1.0 if self.gamma is None else self.gamma)
        self.beta = shift + scale * (0.0 if self.beta is None else self.beta)
        self.has_new_kernel = True

    def refuses_input(self, shift):
        return "is a BatchNormalization"

    def config(self):
        config = super().config()
        del config["use_bias"]
        return {**config, "scale": self.gamma is not None, "center": self.beta is not None}

    def weights(self):
        return [value for value in (self.gamma, self.beta) if value is not None] + self.statistics


def _statistics(layer):
    names = ["moving_mean", "moving_variance"]
    if getattr(layer, "renorm", False):
        names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
    return [getattr(layer, name) for name in names]


@rule(keras.layers.TimeDistributed)
class TimeDistributedRule:
    """The rule of the layer inside, one axis further on."""

    def __init__(self, layer):
        self.layer = layer
        self._inner = RULES[type(layer.layer)](layer.layer)

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def channel_axis(self, rank):
        return self._inner.channel_axis(rank - 1) + 1

    def make_layer(self):
        config = self.layer.get_config()
        del config["layer"]
        return keras.layers.TimeDistributed(self._inner.make_layer(), **config)


def has_rule(operation):
    inner = _inside(operation)
    return type(inner) in RULES and type(inner) is not keras.layers.TimeDistributed


def is_batch_normalization(operation):
    return has_rule(operation) and RULES[type(_inside(operation))] is BatchNormalizationRule


def plain_class(operation):
    """The Keras class that a layer of this package becomes; None for other layers."""
    inner = _inside(operation)
    return RULES[type(inner)].plain_class if has_rule(inner) and is_from_package(inner) else None


def is_from_package(operation):
    return type(_inside(operation)).__module__.split(".")[0] == "dirac_keras"


def needs_package(config):
    """Whether a layer's configuration, at any depth, names a class of dirac_keras."""
    if isinstance(config, dict):
        return _is_ours(config) or any(needs_package(value) for value in config.values())
    return isinstance(config, (list, tuple)) and any(needs_package(value) for value in config)


def _inside(operation):
    return operation.layer if type(operation) is keras.layers.TimeDistributed else operation
