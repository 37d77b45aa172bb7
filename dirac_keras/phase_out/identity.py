"""`IdentityBound`: the callback that keeps the identity of Dirac filters small beside what they have learned."""

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.graph.nested import all_layers
from dirac_keras.kernels import filter_norms
from dirac_keras.phase_out.residual import check_number

START_RATIO = 10.0  # a / b where the paper's layers start: 1 / 0.1


class IdentityBound(keras.callbacks.Callback):
    """Holds `|a| <= ratio * |b|` in every filter of the Dirac layers while a network trains.

    A filter is `a I + b W_norm` (eq. 5). The identity tap of a folded filter sets the step of its integers, so the
    smaller it is beside the others, the less quantization takes from them (docs/quantization.md). The bound is part of
    the compiled step: after the optimizer has moved the weights, `a` is clipped. Until `start_epoch` there is none;
    from there to `end_epoch` it falls from `start_ratio` to `ratio`, by the same factor in each step, or by the same
    difference if `ratio` is 0. Then it stays.

    The logs of each epoch get `identity_ratio`, the mean over all filters of `|a| / |b|`. List the callbacks that write
    logs behind it.

    Args:
        ratio: number of 0 or more, the bound at the end; 0 takes the identity away.
        start_epoch: number of 0 or more, where the bound begins to fall; fractions are allowed. Epochs are counted in
            steps of the optimizer, so a resumed run continues where it stopped.
        end_epoch: number, `start_epoch` or more, where it has come to `ratio`. Equal to `start_epoch`: it is `ratio`
            from there on.
        start_ratio: number of `ratio` or more, above 0, the bound where it begins to fall. A filter whose ratio is
            above it there is clipped at once.

    Raises: ValueError: if an argument is out of range, and from `fit` if the model has no trainable Dirac layer with
        an `identity_scale`, or the bound is not at its end when the training is.
    Source: ours; the filters are those of Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5. Where a layer's W is not
        normalised (eq. 4), the Euclidean norm of its filter stands for b.
    """

    def __init__(self, ratio, start_epoch=0, end_epoch=0, start_ratio=START_RATIO):
        super().__init__()
        for name, value in (("ratio", ratio), ("start_epoch", start_epoch), ("end_epoch", end_epoch)):
            check_number(name, value)
        check_number("start_ratio", start_ratio)
        if end_epoch < start_epoch:
            raise UserError(
                f"end_epoch must be start_epoch or more. Received start_epoch={start_epoch}, end_epoch={end_epoch}."
            )
        if not start_ratio or start_ratio < ratio:
            raise UserError(
                f"start_ratio must be above 0, and ratio or more. Received ratio={ratio}, start_ratio={start_ratio}."
            )
        self.ratio = ratio
        self.start_epoch = start_epoch
        self.end_epoch = end_epoch
        self.start_ratio = start_ratio

    def on_train_begin(self, logs=None):
        self._layers = require_identities(self.model)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
        fall = Fall(self.ratio, self.start_ratio, *self._steps())
        self._own = {id(layer): layer.identity_scale.constraint for layer in self._layers}
        for layer in self._layers:
            layer.identity_scale.constraint = Bound(layer, optimizer, fall, self._own[id(layer)])
        self.model.make_train_function(force=True)  # one traced before knows no bound

    def _steps(self):
        epochs, steps_per_epoch = self.params["epochs"], self.params["steps"]
        if self.end_epoch > epochs or self.start_epoch >= epochs:
            raise UserError(
                "The bound must come to its ratio within the training. "
                f"Received start_epoch={self.start_epoch}, end_epoch={self.end_epoch} and epochs={epochs}."
            )
        if self.end_epoch > 0 and steps_per_epoch is None:
            raise UserError(
                "start_epoch and end_epoch need a known number of steps. Received a data set of unknown length; "
                "give fit(steps_per_epoch=...)."
            )
        return self.start_epoch * (steps_per_epoch or 0), self.end_epoch * (steps_per_epoch or 0)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["identity_ratio"] = mean_ratio(require_identities(self.model))  # on JAX `self.model` is up to date

    def on_train_end(self, logs=None):
        for layer in self._layers:
            layer.identity_scale.constraint = self._own[id(layer)]
        self.model.make_train_function(force=True)


class Fall:
    """The bound as a function of the step."""

    def __init__(self, ratio, start_ratio, start_step, end_step):
        self.ratio, self.start_ratio = ratio, start_ratio
        self.start_step, self.end_step = start_step, end_step

    def __call__(self, step):
        """Of a step (float tensor, from 0), the bound behind it; infinite before the start."""
        if self.end_step <= self.start_step:
            bound = ops.full_like(step, self.ratio)
        else:
            share = ops.clip((step + 1.0 - self.start_step) / (self.end_step - self.start_step), 0.0, 1.0)
            if self.ratio:
                # The last value is the ratio itself, not its logarithm's exponential.
                falling = self.start_ratio * ops.exp(share * float(np.log(self.ratio / self.start_ratio)))
                bound = ops.where(share < 1.0, falling, self.ratio)
            else:
                bound = self.start_ratio * (1.0 - share)
        return ops.where(step < self.start_step, float("inf"), bound)


class Bound(keras.constraints.Constraint):
    """Clips `a` of a layer to the bound of the present step; part of no file.

    Keras applies constraints inside the optimizer's step, where on every backend the weights just moved and the step
    count are read as they are.
    """

    def __init__(self, layer, optimizer, fall, own):
        self.layer, self.optimizer, self.fall, self.own = layer, optimizer, fall, own

    def __call__(self, scale):
        scale = ops.convert_to_tensor(scale if self.own is None else self.own(scale))
        step = ops.cast(ops.convert_to_tensor(self.optimizer.iterations), "float32")
        bound = ops.cast(self.fall(step), scale.dtype)
        size = ops.cast(learned_size(self.layer), scale.dtype)
        # Infinity times a filter of zeros would be no number.
        limit = ops.where(ops.isinf(bound), bound, bound * size)
        return ops.clip(scale, -limit, limit)


def learned_size(layer):
    """`(filters,)`: what stands beside `a`, |b| or the norm of the filter."""
    if layer.filter_scale is not None:
        return ops.abs(ops.convert_to_tensor(layer.filter_scale))
    return filter_norms(ops.convert_to_tensor(layer.kernel))


def find_identities(model):
    """The layers of a model and of the models in it that train an `identity_scale`."""
    return [layer for layer in all_layers(model) if getattr(layer, "identity_scale", None) is not None]


def require_identities(model):
    """`find_identities`, those that are trainable. Raises: ValueError: if there are none."""
    found = [layer for layer in find_identities(model) if layer.trainable]
    if not found:
        raise UserError(
            "The model must have a trainable Dirac layer with an identity_scale. "
            f"Received '{model.name}', which has none."
        )
    return found


def mean_ratio(layers):
    """Mean over all filters of `|a| / |b|`; filters of zeros are left out, 0 if there are no others."""
    ratios = [np.zeros(0)]
    for layer in layers:
        identity = np.abs(ops.convert_to_numpy(layer.identity_scale).astype("float64"))
        learned = ops.convert_to_numpy(learned_size(layer)).astype("float64")
        ratios.append(identity[learned > 0] / learned[learned > 0])
    ratios = np.concatenate(ratios)
    return float(np.mean(ratios)) if ratios.size else 0.0
