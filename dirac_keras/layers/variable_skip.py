"""A skip connection that fades out: `x_{l+1} = F(x_l) + (1 - alpha_l) x_l`, with alpha = 1 as a constraint."""

import keras
import numpy as np
from keras import ops

from dirac_keras.constraints import UnitInterval
from dirac_keras.errors import UserError
from dirac_keras.regularizers import Lagrangian


@keras.saving.register_keras_serializable(package="dirac_keras")
class VariableSkip(keras.layers.Layer):
    """The branch `(1 - alpha) x` of a residual block, which training takes from 1 (a ResNet) to 0 (a plain network).

    `alpha` is trained like any weight, within [0, 1] and never decayed, and is pulled towards 1 by the multiplier
    lambda. A training step is the paper's, in its order: first every weight and alpha (eq. 7), then lambda, from the
    alpha that this gave (eq. 8). As alpha has moved only when the optimizer is done, eq. 8 of a step is carried out
    when the next one begins, inside the compiled step; the numbers are those of the paper, and the first step of all
    has lambda's start value in eq. 7. The term has no value in the loss, only its gradient: reported losses are costs.

    Put it beside the residual function: `Add()([F(x), VariableSkip()(x)])`, or `add_variable_skip(F(x), x)`, which
    checks the shapes.

    Args:
        axis: int or tuple of int, the axes that have an alpha each; the others share it. Default -1: one per unit or
            channel; `(1, 2, 3)` is one per unit of an image.
        constrained: bool. False is VAN(lambda = 0): alpha is trained by the cost alone.
        multiplier_initializer: of lambda. Default -1.
        dual_rate: number of 0 or more, the start of eta', the step of lambda. The callback `SkipPhaseOut` sets it to
            a fraction of the learning rate; 0 leaves lambda where it is.
        alpha_initializer: of alpha, values in [0, 1]. Default 0.

    Input shape: any, the sizes on `axis` known. Output shape: the same.
    Weights: `alpha`; not trainable, float32 under every precision: `multiplier` (lambda), the scalars `dual_rate`
        (eta'), `due_rate` (the eta' of an eq. 8 not yet carried out), `ramp` (the branch is `(1 - ramp alpha) x`; 1
        unless a timetable of `SkipPhaseOut` delays or slows the phase-out) and `step` (the timetable's).
    Raises: ValueError: if a size on `axis` is unknown, `dual_rate` is negative, or a file holds an alpha outside
        [0, 1].
    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", eq. 4 to 8.

    Example:
    >>> x = keras.Input((50,))
    >>> y = keras.layers.Add()([keras.layers.Dense(50)(keras.layers.ReLU()(x)), VariableSkip()(x)])
    """

    def __init__(
        self,
        axis=-1,
        constrained=True,
        multiplier_initializer=None,
        dual_rate=0.0,
        alpha_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(dual_rate, bool) or not isinstance(dual_rate, (int, float)) or not 0 <= dual_rate < np.inf:
            raise UserError(f"dual_rate must be a number of 0 or more. Received dual_rate={dual_rate!r}.")
        self.axis = axis if isinstance(axis, int) else tuple(axis)
        self.constrained = constrained
        if multiplier_initializer is None:
            multiplier_initializer = keras.initializers.Constant(-1.0)
        self.multiplier_initializer = keras.initializers.get(multiplier_initializer)
        self.initial_dual_rate = dual_rate
        self.alpha_initializer = keras.initializers.get(alpha_initializer)
        self.timetable = None  # of a `SkipPhaseOut` during its training
        self.supports_masking = True

    def build(self, input_shape):
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        rank = len(input_shape)
        if not all(-rank <= axis < rank and axis % rank for axis in axes):
            raise UserError(
                f"VariableSkip '{self.name}': axis must name axes of the input beside the batch. "
                f"Received axis={self.axis} and input_shape={tuple(input_shape)}."
            )
        axes = {axis % rank for axis in axes}
        shape = tuple(input_shape[axis] for axis in sorted(axes))
        if None in shape:
            raise UserError(
                f"VariableSkip '{self.name}' needs a known size on axis {self.axis}. "
                f"Received input_shape={tuple(input_shape)}."
            )
        self._broadcast_shape = tuple(input_shape[axis] if axis in axes else 1 for axis in range(rank))
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,
            initializer=self.alpha_initializer,
            constraint=UnitInterval(),
            dtype=self._state_dtype(),
            autocast=False,
        )
        initializer = self.multiplier_initializer if self.constrained else "zeros"
        self.multiplier = self._add_state("multiplier", initializer, shape)
        self.dual_rate = self._add_state("dual_rate", keras.initializers.Constant(self.initial_dual_rate))
        self.due_rate = self._add_state("due_rate", "zeros")
        self.ramp = self._add_state("ramp", "ones")
        self.step = self._add_state("step", "zeros", dtype="int")
        if self.constrained:
            self.alpha.regularizer = Lagrangian(self.multiplier, self.ramp)

    def _state_dtype(self):
        # In bfloat16, what a step adds to lambda would be lost.
        return "float64" if self.variable_dtype == "float64" else "float32"

    def _add_state(self, name, initializer, shape=(), dtype=None):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            trainable=False,
            dtype=dtype or self._state_dtype(),
            autocast=False,
        )

    def call(self, inputs, training=None):
        if training and self.trainable and self.constrained:
            self._update_multiplier()
        weight = ops.reshape(self.skip_weight(), self._broadcast_shape)
        # In the layer's own precision, integers too: cast to theirs, a weight in [0, 1] would be lost.
        return ops.cast(inputs, self.compute_dtype) * ops.cast(weight, self.compute_dtype)

    def skip_weight(self):
        """The factor of the skip, `1 - ramp * alpha`, of the shape of alpha: 1 is a ResNet, 0 no skip."""
        return 1.0 - ops.convert_to_tensor(self.ramp) * ops.convert_to_tensor(self.alpha)

    def _update_multiplier(self):
        alpha = ops.stop_gradient(ops.convert_to_tensor(self.alpha))
        self.multiplier.assign_add(ops.convert_to_tensor(self.due_rate) * (alpha - 1.0))
        if self.timetable is not None:
            self.timetable.advance(self)
        has_begun = ops.cast(ops.convert_to_tensor(self.ramp) > 0, self.due_rate.dtype)
        self.due_rate.assign(ops.convert_to_tensor(self.dual_rate) * has_begun)

    def compute_output_shape(self, input_shape):
        return input_shape

    def load_own_variables(self, store):
        super().load_own_variables(store)
        alpha = ops.convert_to_numpy(self.alpha)
        if not ((alpha >= 0) & (alpha <= 1)).all():  # NaN too
            wrong = alpha[~((alpha >= 0) & (alpha <= 1))]
            raise UserError(
                f"alpha of VariableSkip '{self.name}' must be in [0, 1]. Received a file with {wrong.size} values "
                f"outside, such as {wrong.flat[0]:.4g}."
            )

    def get_config(self):
        return {
            **super().get_config(),
            "axis": self.axis,
            "constrained": self.constrained,
            "multiplier_initializer": keras.initializers.serialize(self.multiplier_initializer),
            "dual_rate": self.initial_dual_rate,
            "alpha_initializer": keras.initializers.serialize(self.alpha_initializer),
        }


def add_variable_skip(residual, skipped, name=None, **options):
    """`F(x) + (1 - alpha) x` of a functional model: a `VariableSkip` and an `Add`.

    Args:
        residual: symbolic tensor, F(x).
        skipped: symbolic tensor of the same shape, x or a linear projection of it.
        name: of the block; its layers are `{name}_skip` and `{name}_add`. None leaves the names to Keras.
        options: further arguments of `VariableSkip`.

    Returns: symbolic tensor of the same shape.
    Raises: ValueError: if the shapes differ; `Add` would broadcast some of them in silence.
    Source: Monti, Tootoonian & Cao, eq. 4.
    """
    skip = VariableSkip(name=name and f"{name}_skip", **options)
    if tuple(residual.shape) != tuple(skipped.shape):
        raise UserError(
            f"The skip '{skip.name}' must have the shape of the residual function it is added to. Received a residual "
            f"of shape {tuple(residual.shape)} and a skip of shape {tuple(skipped.shape)}; project the skip by "
            "a dense layer or a 1x1 convolution with the strides of the residual."
        )
    return keras.layers.Add(name=name and f"{name}_add")([residual, skip(skipped)])
