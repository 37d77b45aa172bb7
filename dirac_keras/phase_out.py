"""Taking the skips of a network out while it trains: the callback, the measure of what is left, the seal."""

import logging
import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from dirac_keras import plots
from dirac_keras.callbacks import read_table, write_table
from dirac_keras.layers import VariableSkip

logger = logging.getLogger("dirac_keras")

# eta' / eta of the paper, sections 4.1 and 4.2.
FRACTIONS = {"dense": 0.5, "conv": 0.1}
TOLERANCE = 1e-2  # of a skip's factor 1 - alpha: what is below it is taken for gone


@dataclass(frozen=True)
class SkipState:
    """One skip: means over its units of alpha (times the ramp), of lambda and of `(1 - alpha)^2`, and what is left.

    `largest` is the largest factor `1 - alpha` of a unit, `lagrangian` the value of `lambda^T (alpha - 1)`.
    """

    alpha: float
    multiplier: float
    residual: float
    largest: float
    lagrangian: float


def find_skips(model):
    """`{path: VariableSkip}` of a model and the models in it, in the order of its layers."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, VariableSkip):
            found[layer.name] = layer
        elif isinstance(layer, keras.Model):
            found |= {f"{layer.name}/{path}": skip for path, skip in find_skips(layer).items()}
    return found


def measure_skips(model):
    """`{path: SkipState}` of every `VariableSkip` of a model, nested models included."""
    return {path: _state(layer) for path, layer in find_skips(model).items()}


def _state(layer):
    left = ops.convert_to_numpy(layer.skip_weight()).astype("float64")  # 1 - ramp alpha
    alpha = ops.convert_to_numpy(layer.alpha).astype("float64")
    multiplier = ops.convert_to_numpy(layer.multiplier).astype("float64")
    has_begun = float(ops.convert_to_numpy(layer.ramp)) > 0
    return SkipState(
        alpha=float(np.mean(1.0 - left)),
        multiplier=float(np.mean(multiplier)),
        residual=float(np.mean(np.square(left))),
        largest=float(np.max(left)),
        lagrangian=float(np.sum(multiplier * (alpha - 1.0))) if has_begun else 0.0,
    )


def mean_residual(states):
    """Mean over layers of `mean((1 - alpha)^2)`: what is left of the skips, 1 at the start, 0 without skips.

    Args:
        states: as `measure_skips` returns.

    Source: Monti, Tootoonian & Cao, caption of Fig. 2.
    """
    return float(np.mean([state.residual for state in states.values()]))


def seal_skips(model, tolerance=TOLERANCE):
    """Set alpha to exactly 1 in every skip, so that the network is plain and `fold` takes the skips out.

    Args:
        model: `keras.Model`, changed in place.
        tolerance: number of 0 or more, the largest factor `1 - alpha` of a unit that may be dropped.

    Raises: ValueError: if the model has no `VariableSkip`, or one has a larger factor; nothing is changed then.
    """
    _check_number("tolerance", tolerance)
    skips = find_skips(model)
    if not skips:
        raise ValueError(_no_skips(model))
    open_skips = {path: layer for path, layer in skips.items() if _state(layer).largest > tolerance}
    if open_skips:
        raise ValueError(
            f"The skips must be gone before they are sealed: at most {tolerance:g} of each unit's. "
            f"Received '{model.name}' with {_described(open_skips)}; train on, or give a larger tolerance."
        )
    for layer in skips.values():
        _seal(layer)


def _seal(layer):
    layer.alpha.assign(np.ones(layer.alpha.shape, "float32"))
    layer.ramp.assign(1.0)


def _described(skips, most=5):
    parts = [f"'{path}' (1 - alpha up to {_state(layer).largest:.3g})" for path, layer in skips.items()]
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def _no_skips(model):
    return f"The model must have a VariableSkip layer. Received '{model.name}', which has none."


def _check_number(name, value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0:
        raise ValueError(f"{name} must be a number of 0 or more. Received {name}={value!r}.")


class _Timetable:
    """eta' and the ramp of every step, computed inside the compiled step by one skip; the others copy them from it.

    The optimizer's own step count cannot be read there on every backend, so that skip counts.

    Args:
        leader: the `VariableSkip` that is called first.
        fraction: eta' / eta.
        schedule: Keras learning rate schedule, or None: eta' is what `leader.dual_rate` holds.
        start_step, end_step: numbers; alpha's weight in the network rises linearly from 0 to 1 between them. None
            for `end_step`: it jumps at the start.
    """

    def __init__(self, leader, fraction, schedule, start_step, end_step):
        self.leader = leader
        self.fraction = fraction
        self.schedule = schedule
        self.start_step = start_step
        self.end_step = end_step
        self.has_ramp = start_step > 0 or end_step is not None

    def advance(self, layer):
        """Move a layer on to the present step; called by each layer in each training step."""
        if layer is self.leader:
            step = ops.convert_to_tensor(layer.step)
            if self.schedule is not None:
                layer.dual_rate.assign(self.fraction * ops.cast(self.schedule(step), "float32"))
            if self.has_ramp:
                layer.ramp.assign(self.ramp(ops.cast(step, "float32")))
            layer.step.assign(step + 1)
            return
        layer.dual_rate.assign(ops.convert_to_tensor(self.leader.dual_rate))
        if self.has_ramp:
            layer.ramp.assign(ops.convert_to_tensor(self.leader.ramp))

    def ramp(self, step):
        """The weight of alpha at a step (float tensor); above 0 from the start step on."""
        if self.end_step is None:
            return ops.cast(step >= self.start_step, "float32")
        return ops.clip((step + 1.0 - self.start_step) / (self.end_step - self.start_step), 0.0, 1.0)


class SkipMonitor(keras.callbacks.Callback):
    """Adds to the logs of every epoch what is left of the skips, and so to `metrics.csv` and TensorBoard.

    | name | what it is |
    |---|---|
    | `skip_residual` | mean over layers of `mean((1 - alpha)^2)` |
    | `lagrangian` | sum over layers of `lambda^T (alpha - 1)`, which the loss does not contain |
    | `alpha/LAYER`, `multiplier/LAYER` | mean over the units of a layer |

    List the callbacks that write logs behind it.

    Args:
        by_layer: bool, whether the logs have alpha and lambda of every layer.

    Raises: ValueError: from `fit` if the model has no `VariableSkip`.
    """

    def __init__(self, by_layer=True):
        super().__init__()
        self.by_layer = by_layer

    def on_train_begin(self, logs=None):
        if not find_skips(self.model):
            raise ValueError(_no_skips(self.model))

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        states = measure_skips(self.model)
        logs["skip_residual"] = mean_residual(states)
        logs["lagrangian"] = sum(state.lagrangian for state in states.values())
        if self.by_layer:
            for path, state in states.items():
                logs[f"alpha/{path}"] = state.alpha
                logs[f"multiplier/{path}"] = state.multiplier


class SkipTrace(keras.callbacks.Callback):
    """Writes what is left of the skips by step, as a table and a picture of it.

    Every step up to the twentieth, then one in every twentieth part of the steps so far: the skips may be gone in a
    hundred steps or in ten thousand. The table, with `step`, `residual` and `alpha` (means over the layers), is
    written after every epoch; in a resumed training it goes on where the optimizer is.

    Args:
        path: `pathlib.Path` of the CSV table.
        picture: of the PNG, drawn at the end.
    """

    def __init__(self, path, picture):
        super().__init__()
        self.path = path
        self.picture = picture
        self.rows = []

    def on_train_begin(self, logs=None):
        self._step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        self._first_batch = (self.params or {}).get("first_batch", 0)  # of a training that begins within an epoch
        self.rows = [row for row in read_table(self.path) if row["step"] <= self._step]
        if not self._step:
            self._measure()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = self._step - self._first_batch
        self._first_batch = 0

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._epoch_start + batch + 1
        last = self.rows[-1]["step"] if self.rows else -1
        if self._step - last >= max(1, last // 20):
            self._measure()

    def epoch_state(self):
        """The rows of an epoch that is not finished, with that of its start: the run's first is in no file yet."""
        return {"rows": [row for row in self.rows if row["step"] >= self._epoch_start]}

    def restore_epoch_state(self, state):
        """Go on with an interrupted epoch."""
        known = {row["step"] for row in self.rows}
        self.rows += [row for row in state["rows"] if row["step"] not in known]

    def on_epoch_end(self, epoch, logs=None):
        write_table(self.path, self.rows)

    def on_train_end(self, logs=None):
        plots.plot_skips(self.rows, self.picture)

    def _measure(self):
        states = measure_skips(self.model)
        alpha = float(np.mean([state.alpha for state in states.values()]))
        self.rows.append({"step": self._step, "residual": mean_residual(states), "alpha": alpha})


class SkipPhaseOut(SkipMonitor):
    """Phases the skips of a network out while it trains, logs what is left of them, and seals them at the end.

    Sets the step of the multipliers, eta', to a fraction of the learning rate: with a schedule, of each step's, inside
    the compiled step; without one, of the rate that an epoch begins with. The logs are those of `SkipMonitor`.

    By default the phase-out is the paper's: it begins with the training and lasts as long as the multipliers need,
    some 120 steps with the paper's values. With `start_epoch` the network is a ResNet until then. With `end_epoch` the
    weight of alpha in the network, `(1 - ramp alpha) x`, rises linearly from the start to that epoch, so the skips
    go no faster, and are gone then if alpha is 1, which the multipliers see to.

    Args:
        fraction: number of 0 or more, eta' / eta. The paper's: 0.5 for dense networks, 0.1 for convolutional ones.
        start_epoch: number of 0 or more, epochs before the phase-out; fractions are allowed. Epochs are counted in
            steps of the optimizer, so a resumed run goes on where it was.
        end_epoch: number above `start_epoch`, or None, when the skips are gone.
        seal: bool, whether alpha becomes exactly 1 at the end in the layers where every unit is within the tolerance.
            The others stay as they are and are named in a warning.
        tolerance: number of 0 or more, the largest factor `1 - alpha` that is taken for gone.
        by_layer: bool, whether the logs have alpha and lambda of every layer.

    Raises: ValueError: if an argument is out of range, and from `fit` if the model has no `VariableSkip` with
        `constrained=True`, the phase-out is longer than the training, or gradients are accumulated over batches.
    Source: Monti, Tootoonian & Cao, "Avoiding degradation in deep feed-forward networks by phasing out
        skip-connections", eq. 8 and section 4.
    """

    def __init__(
        self, fraction=FRACTIONS["dense"], start_epoch=0, end_epoch=None, seal=True, tolerance=TOLERANCE, by_layer=True
    ):
        super().__init__(by_layer)
        _check_number("fraction", fraction)
        _check_number("start_epoch", start_epoch)
        _check_number("tolerance", tolerance)
        if end_epoch is not None:
            _check_number("end_epoch", end_epoch)
            if end_epoch <= start_epoch:
                raise ValueError(
                    f"end_epoch must be above start_epoch. Received start_epoch={start_epoch}, end_epoch={end_epoch}."
                )
        self.fraction = fraction
        self.start_epoch = start_epoch
        self.end_epoch = end_epoch
        self.seal = seal
        self.tolerance = tolerance

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        skips = find_skips(self.model)
        self._skips = {path: layer for path, layer in skips.items() if layer.constrained and layer.trainable}
        if not self._skips:
            raise ValueError(
                f"The model must have a trainable VariableSkip with constrained=True to phase out. Received "
                f"'{self.model.name}', whose skips have lambda = 0 or are frozen."
            )
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
        if optimizer.gradient_accumulation_steps:
            raise ValueError(
                "The multipliers move once a batch, so gradients cannot be accumulated over batches. Received "
                f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}."
            )
        self._schedule = _schedule_of(optimizer)
        start_step, end_step = self._steps()
        leader = next(iter(self._skips.values()))
        timetable = _Timetable(leader, self.fraction, self._schedule, start_step, end_step)
        step = int(ops.convert_to_numpy(optimizer.iterations))
        leader.step.assign(step)
        ramp = float(ops.convert_to_numpy(timetable.ramp(ops.convert_to_tensor(step - 1.0))))
        for layer in self._skips.values():
            layer.timetable = timetable
            layer.ramp.assign(ramp if timetable.has_ramp else 1.0)
        self._leader = leader
        self.model.make_train_function(force=True)  # one traced before knows no timetable

    def _steps(self):
        epochs, steps_per_epoch = self.params["epochs"], self.params["steps"]
        last = self.start_epoch if self.end_epoch is None else self.end_epoch
        if last > epochs or (self.end_epoch is None and last == epochs):
            raise ValueError(
                "The phase-out must fit into the training. "
                f"Received start_epoch={self.start_epoch}, end_epoch={self.end_epoch} and epochs={epochs}."
            )
        if last > 0 and steps_per_epoch is None:
            raise ValueError(
                "start_epoch and end_epoch need a known number of steps. Received a data set of unknown length; "
                "give fit(steps_per_epoch=...)."
            )
        end_step = None if self.end_epoch is None else self.end_epoch * steps_per_epoch
        return self.start_epoch * (steps_per_epoch or 0), end_step

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0 and self._schedule is None:  # behind what other callbacks do when an epoch begins
            rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            self._leader.dual_rate.assign(self.fraction * rate)

    def on_train_end(self, logs=None):
        for layer in self._skips.values():
            layer.timetable = None
        self.model.make_train_function(force=True)
        if not self.seal:
            return
        still_open = {}
        for path, layer in self._skips.items():
            if _state(layer).largest > self.tolerance:
                still_open[path] = layer
            else:
                _seal(layer)
        if still_open:
            logger.warning(
                "the constraint alpha = 1 is not met: %d of %d skips of '%s' are still there and were not sealed: %s. "
                "Train longer, or with a larger fraction (%g now).",
                len(still_open),
                len(self._skips),
                self.model.name,
                _described(still_open),
                self.fraction,
            )


def _schedule_of(optimizer):
    """The learning rate schedule of an optimizer, or None for a rate that is a number."""
    config = optimizer.get_config()["learning_rate"]
    rate = keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None
