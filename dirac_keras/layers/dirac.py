"""Layers whose kernel is `diag(a) I + diag(b) W_norm`: the skip connection lives in the weights."""

import keras
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.kernels import effective_kernel, identity_kernel
from dirac_keras.regularizers import IdentityLagrangian


class _DiracParameterization:
    """What `DiracConv` and `DiracDense` add to Keras' layers: the scales, and the kernel made from them and `W`."""

    def __init__(
        self,
        *args,
        kernel_initializer=None,
        use_identity_scale=True,
        use_weight_norm=True,
        identity_scale_initializer="ones",
        filter_scale_initializer=None,
        identity_scale_regularizer=None,
        filter_scale_regularizer=None,
        identity_scale_constraint=None,
        filter_scale_constraint=None,
        use_identity_multiplier=False,
        **kwargs,
    ):
        if kernel_initializer is None:  # the scale of `W` is irrelevant once normalised; else small beside `I`
            kernel_initializer = keras.initializers.RandomNormal(stddev=1.0 if use_weight_norm else 0.01)
        super().__init__(*args, kernel_initializer=kernel_initializer, **kwargs)
        if use_weight_norm and not use_identity_scale:
            raise UserError(
                "use_weight_norm=True needs use_identity_scale=True (eq. 5). "
                "Received use_identity_scale=False; for eq. 8 set both to False."
            )
        if use_identity_multiplier and not use_identity_scale:
            raise UserError(
                "use_identity_multiplier=True needs an identity_scale to take out. Received use_identity_scale=False."
            )
        if self.lora_rank:
            raise UserError(f"Dirac layers have no LoRA. Received lora_rank={self.lora_rank}; fold the layer first.")
        if getattr(self.dtype_policy, "quantization_mode", None):
            raise UserError(
                "dtype must be a policy of floats: the raw kernel is not the one in use. Received "
                f"dtype={self.dtype_policy.name!r}; fold the model first, dirac_keras.fold(model), and quantize that."
            )
        if filter_scale_initializer is None:
            filter_scale_initializer = keras.initializers.Constant(0.1)
        self.use_identity_scale = use_identity_scale
        self.use_weight_norm = use_weight_norm
        self.use_identity_multiplier = use_identity_multiplier
        self.identity_scale_initializer = keras.initializers.get(identity_scale_initializer)
        self.filter_scale_initializer = keras.initializers.get(filter_scale_initializer)
        self.identity_scale_regularizer = keras.regularizers.get(identity_scale_regularizer)
        self.filter_scale_regularizer = keras.regularizers.get(filter_scale_regularizer)
        self.identity_scale_constraint = keras.constraints.get(identity_scale_constraint)
        self.filter_scale_constraint = keras.constraints.get(filter_scale_constraint)

    def add_weight(self, *args, **kwargs):
        # The norm of a filter is taken in the variable's own precision, never in bfloat16 or float16.
        if kwargs.get("name") == "kernel":
            kwargs["autocast"] = False
        return super().add_weight(*args, **kwargs)

    def _add_scales(self, channels):
        """`a` and `b`, one number an output channel each; None where the equation has none. Then lambda of a = 0."""
        self.identity_scale = self._add_scale("identity_scale", channels) if self.use_identity_scale else None
        self.filter_scale = self._add_scale("filter_scale", channels) if self.use_weight_norm else None
        self.identity_multiplier = None
        if self.use_identity_multiplier:
            # Trainable, so that the optimizer's step can change it on every backend; its gradient is 0.
            self.identity_multiplier = self.add_weight(
                name="identity_multiplier", shape=(channels,), initializer="zeros", autocast=False
            )
            own = self.identity_scale.regularizer
            self.identity_scale.regularizer = IdentityLagrangian(self.identity_multiplier, own)

    def _add_scale(self, name, channels):
        return self.add_weight(
            name=name,
            shape=(channels,),
            initializer=getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
            autocast=False,
        )

    def effective_kernel(self):
        """The kernel in use, `W_hat`, of the shape and precision of the raw `kernel`."""
        kernel = ops.convert_to_tensor(self.kernel)
        return effective_kernel(
            kernel,
            ops.convert_to_tensor(self._identity, dtype=kernel.dtype),
            None if self.identity_scale is None else ops.convert_to_tensor(self.identity_scale),
            None if self.filter_scale is None else ops.convert_to_tensor(self.filter_scale),
        )

    def _operands(self, inputs):
        """Inputs and kernel in the layer's own precision: Keras casts to it what is a float, but no integers."""
        return ops.cast(inputs, self.compute_dtype), ops.cast(self.effective_kernel(), self.compute_dtype)

    def quantize(self, *args, **kwargs):
        raise UserError(
            f"Dirac layer '{self.name}' cannot be quantized: the raw kernel is not the one in use. "
            "Fold the model first: dirac_keras.fold(model)."
        )

    def enable_lora(self, *args, **kwargs):
        raise UserError(f"Dirac layer '{self.name}' has no LoRA. Fold the model first: dirac_keras.fold(model).")

    # Conv and Dense store kernel and bias only: more weights would be lost on saving, in silence.
    def save_own_variables(self, store):
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self):
        config = super().get_config()
        config.update(
            use_identity_scale=self.use_identity_scale,
            use_weight_norm=self.use_weight_norm,
            identity_scale_initializer=keras.initializers.serialize(self.identity_scale_initializer),
            filter_scale_initializer=keras.initializers.serialize(self.filter_scale_initializer),
            identity_scale_regularizer=keras.regularizers.serialize(self.identity_scale_regularizer),
            filter_scale_regularizer=keras.regularizers.serialize(self.filter_scale_regularizer),
            identity_scale_constraint=keras.constraints.serialize(self.identity_scale_constraint),
            filter_scale_constraint=keras.constraints.serialize(self.filter_scale_constraint),
        )
        if self.use_identity_multiplier:  # else a layer as earlier versions write it
            config["use_identity_multiplier"] = True
        return config


class _DiracConv(_DiracParameterization):
    def __init__(self, filters, kernel_size, strides=1, *args, **kwargs):
        super().__init__(filters, kernel_size, strides, *args, **kwargs)
        if any(size % 2 == 0 for size in self.kernel_size):
            raise UserError(
                "kernel_size must be odd: an even kernel has no centre for the identity. "
                f"Received kernel_size={kernel_size}."
            )
        if any(stride != 1 for stride in self.strides):
            raise UserError(
                "strides must be 1: a strided identity would drop pixels; downsample with a pooling layer. "
                f"Received strides={strides}."
            )
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def build(self, input_shape):
        if len(input_shape) != self.rank + 2:
            raise UserError(
                f"{type(self).__name__} '{self.name}' takes inputs of rank {self.rank + 2}. "
                f"Received input_shape={tuple(input_shape)}."
            )
        channel_axis = -1 if self.data_format == "channels_last" else 1
        in_channels = input_shape[channel_axis]
        if in_channels is None:
            raise UserError(
                f"{type(self).__name__} '{self.name}' needs a known number of channels. "
                f"Received input_shape={tuple(input_shape)}; give the channel axis of the Input a number."
            )
        super().build(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2, axes={channel_axis: in_channels})
        self._add_scales(self.filters)
        self._identity = identity_kernel(
            self.kernel.shape, tap="last" if self.padding == "causal" else "centre", groups=self.groups
        )

    # Not through Keras' hook `convolution_op`: `Conv1D.call` does not go through it.
    def call(self, inputs):
        inputs, kernel = self._operands(inputs)
        padding = self.padding
        if padding == "causal":
            span = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            steps_first = self.data_format == "channels_last"
            inputs = ops.pad(inputs, [[0, 0], [span, 0], [0, 0]] if steps_first else [[0, 0], [0, 0], [span, 0]])
            padding = "valid"
        outputs = ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            if self.data_format == "channels_last":
                outputs = ops.add(outputs, self.bias)
            else:
                # Not by `ops.add`: on TensorFlow it adds a vector as long as the last axis along that one.
                outputs = outputs + ops.reshape(self.bias, (1, self.filters, *(1,) * self.rank))
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="dirac_keras")
class DiracConv1D(_DiracConv, keras.layers.Conv1D):
    """1D convolution with kernel `diag(a) I + diag(b) W_norm`; arguments as `DiracConv2D`.

    With `padding="causal"` the identity sits in the last tap, the one that sees the current step.

    Input shape: `(batch, steps, in_channels)`. Output shape: `(batch, steps, filters)` for `padding="same"`.
    Raises: ValueError: if `kernel_size` is even or `strides != 1`.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5.
    """


@keras.saving.register_keras_serializable(package="dirac_keras")
class DiracConv2D(_DiracConv, keras.layers.Conv2D):
    """Convolution with kernel `diag(a) I + diag(b) W_norm`: the skip lives in the weights.

    Takes every argument of `keras.layers.Conv2D`, in its order and with its defaults, and from `kernel_initializer` on
    by keyword alone:

    Args:
        filters: int, output channels. If it differs from `in_channels`, `I` is the rectangular identity.
        kernel_size: odd int or pair of odd ints, pixels.
        kernel_initializer: of the raw `W`. None is N(0, 1), or N(0, 0.01^2) where `W` is not normalised.
        use_identity_scale: whether `a` is trained; False with `use_weight_norm=False` is eq. 8, `I + W`.
        use_weight_norm: False is eq. 4, `diag(a) I + W`.
        identity_scale_initializer: of `a`, one per output channel, the weight `identity_scale`. Default 1.
        filter_scale_initializer: of `b`, the weight `filter_scale`. None is the paper's 0.1.
        identity_scale_regularizer, filter_scale_regularizer, identity_scale_constraint,
            filter_scale_constraint: as for any weight. The paper regularises neither.
        use_identity_multiplier: whether the layer has a weight `identity_multiplier`, one number per output channel,
            0 at the start: lambda of the constraint `a = 0`, which the callback `IdentityPhaseOut` moves. It adds
            `lambda` to the gradient of `a`; its own is 0. A decoupled weight decay should leave it out.

    Input shape: `(batch, height, width, in_channels)`. Output shape: `(batch, height, width, filters)` for
    `padding="same"`.
    Raises: ValueError: if `kernel_size` is even or `strides != 1`.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5; `a` is `identity_scale`, `b` is `filter_scale`.

    Example:
    >>> layer = DiracConv2D(64, 3, use_bias=False)
    >>> layer(np.zeros((1, 32, 32, 64))).shape
    (1, 32, 32, 64)
    """


@keras.saving.register_keras_serializable(package="dirac_keras")
class DiracConv3D(_DiracConv, keras.layers.Conv3D):
    """3D convolution with kernel `diag(a) I + diag(b) W_norm`; arguments as `DiracConv2D`.

    Input shape: `(batch, depth, height, width, in_channels)`. Output shape: the same with `filters` channels for
    `padding="same"`.
    Raises: ValueError: if `kernel_size` is even or `strides != 1`.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5.
    """


@keras.saving.register_keras_serializable(package="dirac_keras")
class DiracDense(_DiracParameterization, keras.layers.Dense):
    """Dense layer with kernel `diag(a) I + diag(b) W_norm`.

    Takes every argument of `keras.layers.Dense`, and by keyword `kernel_initializer` and the scales' arguments of
    `DiracConv2D`.

    Input shape: `(batch, ..., in_units)`, rank 2 or more. Output shape: `(batch, ..., units)`.
    Raises: ValueError: if the last axis of the input is unknown.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5, as compared with in Monti et al. (VAN).
    """

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise UserError(
                f"DiracDense '{self.name}' needs a known last axis. Received input_shape={tuple(input_shape)}."
            )
        super().build(input_shape)
        self._add_scales(self.units)
        self._identity = identity_kernel(self.kernel.shape)

    def call(self, inputs, training=None):
        inputs, kernel = self._operands(inputs)
        outputs = ops.matmul(inputs, kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)
