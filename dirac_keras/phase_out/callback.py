"""`SkipPhaseOut`: the callback that takes the skips of a network out while it trains."""

import logging

import keras
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.models.van import FRACTIONS
from dirac_keras.phase_out.monitor import SkipMonitor
from dirac_keras.phase_out.residual import TOLERANCE, check_number, describe, find_skips, seal, skip_state
from dirac_keras.phase_out.timetable import Timetable

logger = logging.getLogger("dirac_keras")


class SkipPhaseOut(SkipMonitor):
    """Phases the skips of a network out while it trains, logs what is left of them, and seals them at the end.

    Sets the step of the multipliers, eta', to a fraction of the learning rate: with a schedule, of each step's, inside
    the compiled step; without one, of the rate that an epoch begins with. The logs are those of `SkipMonitor`.

    By default the phase-out is the paper's: it begins with the training and lasts as long as the multipliers need, with
    the paper's values some 120 steps in a dense network and fewer than 30 in a convolutional one. With `start_epoch`
    the network is a ResNet until then. With `end_epoch` the weight of alpha in the network, `(1 - ramp alpha) x`,
    rises linearly from the start to that epoch, so the skips go no faster, and are gone then if alpha is 1, which the
    multipliers see to. Half of the training is a good end for a deep convolutional network (docs/van.md).

    Args:
        fraction: number of 0 or more, eta' / eta. The paper's: 0.5 for dense networks, 0.1 for convolutional ones.
        start_epoch: number of 0 or more, epochs before the phase-out; fractions are allowed. Epochs are counted in
            steps of the optimizer, so a resumed run continues where it stopped.
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
        check_number("fraction", fraction)
        check_number("start_epoch", start_epoch)
        check_number("tolerance", tolerance)
        if end_epoch is not None:
            check_number("end_epoch", end_epoch)
            if end_epoch <= start_epoch:
                raise UserError(
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
            raise UserError(
                f"The model must have a trainable VariableSkip with constrained=True to phase out. Received "
                f"'{self.model.name}', whose skips have lambda = 0 or are frozen."
            )
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)  # behind loss scaling
        if optimizer.gradient_accumulation_steps:
            raise UserError(
                "The multipliers move once a batch, so gradients cannot be accumulated over batches. Received "
                f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}."
            )
        self._schedule = _schedule_of(optimizer)
        start_step, end_step = self._steps()
        leader = next(iter(self._skips.values()))
        timetable = Timetable(leader, self.fraction, self._schedule, start_step, end_step)
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
            raise UserError(
                "The phase-out must fit into the training. "
                f"Received start_epoch={self.start_epoch}, end_epoch={self.end_epoch} and epochs={epochs}."
            )
        if last > 0 and steps_per_epoch is None:
            raise UserError(
                "start_epoch and end_epoch need a known number of steps. Received a data set of unknown length; "
                "give fit(steps_per_epoch=...)."
            )
        end_step = None if self.end_epoch is None else self.end_epoch * steps_per_epoch
        return self.start_epoch * (steps_per_epoch or 0), end_step

    def next_step(self, step):
        """None: the first step of an epoch begins a chunk of steps in any case, see `training.chunks.ends`."""

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
            if skip_state(layer).largest > self.tolerance:
                still_open[path] = layer
            else:
                seal(layer)
        if still_open:
            logger.warning(
                "the constraint alpha = 1 is not met: %d of %d skips of '%s' are still there and were not sealed: %s. "
                "Train longer, or with a larger fraction (%g now).",
                len(still_open),
                len(self._skips),
                self.model.name,
                describe(still_open),
                self.fraction,
            )


def _schedule_of(optimizer):
    """The learning rate schedule of an optimizer, or None for a rate that is a number."""
    config = optimizer.get_config()["learning_rate"]
    rate = keras.saving.deserialize_keras_object(config) if isinstance(config, dict) else config
    return rate if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) else None
