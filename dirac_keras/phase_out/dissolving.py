"""`DissolveIdentity`: the callback that makes the identity of Dirac filters part of their ordinary weights."""

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.phase_out.identity import Bound, Fall, require_identities
from dirac_keras.phase_out.residual import check_number
from dirac_keras.regularizers import LogKurtosis, LogPeak

KURTOSIS = 0.003


class DissolveIdentity(keras.callbacks.Callback):
    """Turns the filters `a I + b W_norm` of the Dirac layers into ordinary ones while a network trains.

    When `epoch` begins, W becomes `W_hat = a I + b W_norm`, b its norm, and a becomes 0 and stays it: the function is
    the same, and from then on the identity tap is a weight like the others. A penalty on the kurtosis of each filter
    or on its peak then spreads what it holds over them, so that the largest weight, which sets the step of a filter's
    integers, leaves the others room (docs/quantization.md). The penalty is part of the compiled step, by its gradient
    alone: the reported loss is the cost.

    The logs of each epoch get `tap_ratio`, the mean over all filters of their largest weight over the root mean square
    of their weights. List the callbacks that write logs behind it.

    Args:
        epoch: int, 0 or more, and less than the epochs of the training.
        kurtosis: number of 0 or more, weight of the penalty: `kurtosis * sum over layers of mean over filters of
            log(kurtosis of the filter)`.
        peak: number of 0 or more, weight of a penalty on what sets the step of the integers itself: `peak * sum over
            layers of mean over filters of log(max w^2 / mean w^2)`.

    Raises: ValueError: if an argument is out of range, and from `fit` if the model has no trainable Dirac layer of
        eq. 5, the training is over before `epoch`, its length in steps is unknown, or the optimizer averages weights.
    Source: ours. The filters are those of Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5; a penalty on the
        kurtosis for quantization is that of Shkolnik et al. 2020, arXiv:2002.07686, see `LogKurtosis`;
        for the other see `LogPeak`.
    """

    def __init__(self, epoch, kurtosis=KURTOSIS, peak=0.0):
        super().__init__()
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise UserError(f"epoch must be a whole number of 0 or more. Received epoch={epoch!r}.")
        check_number("kurtosis", kurtosis)
        check_number("peak", peak)
        self.epoch = epoch
        self.kurtosis = kurtosis
        self.peak = peak

    def on_train_begin(self, logs=None):
        layers = require_identities(self.model)
        without = [layer.name for layer in layers if layer.filter_scale is None]
        if without:
            raise UserError(
                "The identity dissolves in layers of eq. 5, whose W is normalised. "
                f"Received '{self.model.name}' with '{without[0]}', which has use_weight_norm=False."
            )
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
        if optimizer.use_ema:
            raise UserError(
                "The identity cannot dissolve in averaged weights, which are of other kernels before. "
                "Received an optimizer with use_ema=True."
            )
        step = self._step()
        self._own = [(layer, layer.identity_scale.constraint, layer.kernel.regularizer) for layer in layers]
        for layer, constraint, _ in self._own:
            layer.identity_scale.constraint = Bound(layer, optimizer, Fall(0.0, 1.0, step, step), constraint)
            terms = [(LogKurtosis, self.kurtosis), (LogPeak, self.peak)]
            for term, weight in terms:
                if weight:
                    own = layer.kernel.regularizer
                    layer.kernel.regularizer = _OnceDissolved(term(weight), layer, own)
        self.model.make_train_function(force=True)  # one traced before knows neither

    def _step(self):
        epochs, steps_per_epoch = self.params["epochs"], self.params["steps"]
        if self.epoch >= epochs:
            raise UserError(
                f"The identity must dissolve before the training ends. Received epoch={self.epoch} and epochs={epochs}."
            )
        if self.epoch and steps_per_epoch is None:
            raise UserError(
                "epoch needs a known number of steps. Received a data set of unknown length; "
                "give fit(steps_per_epoch=...)."
            )
        return self.epoch * (steps_per_epoch or 0)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.epoch and dissolve_identity(self.model):
            _forget(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["tap_ratio"] = tap_ratio(require_identities(self.model))

    def on_train_end(self, logs=None):
        for layer, constraint, regularizer in self._own:
            layer.identity_scale.constraint, layer.kernel.regularizer = constraint, regularizer
        self.model.make_train_function(force=True)


class _OnceDissolved(keras.regularizers.Regularizer):
    """A term of a kernel's filters whose a is 0, by its gradient alone, beside the layer's own; part of no file."""

    def __init__(self, term, layer, own):
        self.term, self.layer, self.own = term, layer, own

    def __call__(self, kernel):
        scale = ops.convert_to_tensor(self.layer.identity_scale)
        is_dissolved = ops.cast(ops.equal(ops.max(ops.abs(scale)), 0.0), kernel.dtype)
        term = is_dissolved * self.term(kernel)
        term = ops.cast(term - ops.stop_gradient(term), keras.backend.floatx())  # as Keras' sum of losses wants it
        return term if self.own is None else term + self.own(kernel)


def dissolve_identity(model):
    """Make W of each Dirac layer of eq. 5 `W_hat`, b its norm and a 0: the same function, but for rounding.

    Layers whose a is 0 everywhere are left as they are.

    Args:
        model: `keras.Model`, changed in place.

    Returns: int, number of layers that changed.
    Raises: ValueError: if there is no trainable Dirac layer.
    """
    changed = 0
    for layer in require_identities(model):
        if layer.filter_scale is None or not np.any(ops.convert_to_numpy(layer.identity_scale)):
            continue
        kernel = ops.convert_to_numpy(layer.effective_kernel()).astype("float64")
        norms = np.sqrt(np.sum(np.square(kernel), axis=tuple(range(kernel.ndim - 1))))
        layer.kernel.assign(kernel)
        layer.filter_scale.assign(norms)
        layer.identity_scale.assign(np.zeros_like(norms))
        changed += 1
    return changed


def _forget(model):
    """Set to 0 what the optimizer remembers of the weights that changed (momentum), as of weights of another size."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # behind loss scaling
    weights = [
        w for layer in require_identities(model) for w in (layer.kernel, layer.filter_scale, layer.identity_scale)
    ]
    names = tuple(f"{weight.path.replace('/', '_')}_" for weight in weights)
    for slot in optimizer.variables:
        if slot.name.startswith(names):  # as Keras names it after its weight
            slot.assign(ops.zeros(slot.shape, slot.dtype))


def tap_ratio(layers):
    """Mean over all filters of the largest weight over the root mean square; filters of zeros are left out."""
    ratios = [np.zeros(0)]
    for layer in layers:
        kernel = np.abs(ops.convert_to_numpy(layer.effective_kernel()).astype("float64"))
        filters = kernel.reshape(-1, kernel.shape[-1])
        rms = np.sqrt(np.mean(np.square(filters), axis=0))
        ratios.append(filters.max(axis=0)[rms > 0] / rms[rms > 0])
    ratios = np.concatenate(ratios)
    return float(np.mean(ratios)) if ratios.size else 0.0
