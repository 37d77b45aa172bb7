"""`Position`: where in a run a state belongs, and what its epoch has counted so far."""

import dataclasses
from typing import Annotated

import keras
import numpy as np
from msgspec import Meta

from dirac_keras.errors import UserError
from dirac_keras.files.records import convert_record
from dirac_keras.training.tasks import takes_rows

_OTHER_VERSION = "Train with the version that began the run, or give `overwrite=True`."


@dataclasses.dataclass(frozen=True)
class Position:
    """A place in the training, kept beside the weights so that a run can resume in the middle of an epoch.

    Attributes:
        epoch: int, finished epochs, their validation included.
        batch: int, finished steps of the epoch after them; all of them, if only its validation is missing.
        metrics: list of the values of the model's metrics' variables, which hold the epoch's sums.
        callbacks: dict, by class name, of what callbacks with an `epoch_state()` have of the epoch; they get it back
            through `restore_epoch_state(state)`. JSON-safe.
        generators: list of the states of the model's random generators, as those of Dropout: Keras' files lack them.
        tables: dict, by file name, of the text that the run's tables had; kept beside the position.
    """

    epoch: Annotated[int, Meta(ge=0)] = 0
    batch: Annotated[int, Meta(ge=0)] = 0
    metrics: list[float | list] = dataclasses.field(default_factory=list)
    callbacks: dict[str, dict] = dataclasses.field(default_factory=dict)
    generators: list[list[int]] = dataclasses.field(default_factory=list)
    tables: dict = dataclasses.field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, model, epoch, batch, callbacks=()):
        """The position after `batch` steps of an epoch, with what the model and the callbacks have measured in it."""
        metrics = [np.asarray(keras.ops.convert_to_numpy(v)).tolist() for v in _metric_variables(model)]
        states = {type(c).__name__: c.epoch_state() for c in callbacks if hasattr(c, "epoch_state")}
        return cls(epoch, batch, metrics, states)

    def step(self, steps_per_epoch):
        """Steps of the run that are finished."""
        return self.epoch * steps_per_epoch + self.batch

    def restore(self, model, callbacks=()):
        """Give the model's metrics and the callbacks what they had measured of the epoch."""
        build_metrics(model)
        variables = _metric_variables(model)
        values = [np.asarray(value) for value in self.metrics]
        if [variable.shape for variable in variables] != [value.shape for value in values]:
            raise UserError(
                f"The checkpoint has {len(values)} values of metrics, the model {len(variables)}, or they differ in "
                f"shape: they are of different versions. {_OTHER_VERSION}"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value.astype(variable.dtype))
        for callback in callbacks:
            state = self.callbacks.get(type(callback).__name__)
            if state is not None and hasattr(callback, "restore_epoch_state"):
                _restore_callback(callback, state)

    def with_generators(self, model):
        """The same, with the states that the random generators of a model have now."""
        states = [keras.ops.convert_to_numpy(variable).reshape(-1).tolist() for variable in generators_of(model)]
        return dataclasses.replace(self, generators=states)

    def restore_generators(self, model):
        """Give the random generators of a model that was read from a file the states that they had."""
        variables = generators_of(model)
        if self.generators and len(variables) != len(self.generators):
            raise UserError(f"it has the states of {len(self.generators)} random generators, not {len(variables)}.")
        for variable, state in zip(variables, self.generators, strict=bool(self.generators)):
            variable.assign(np.asarray(state, variable.dtype).reshape(variable.shape))

    def to_dict(self):
        """JSON-safe; without the tables."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "tables"}

    @classmethod
    def from_dict(cls, values, source="position"):
        """The inverse of `to_dict`. Raises: ValueError: that begins with `source`, if it is something else."""
        return convert_record(values, cls, source, "a position in a run", "Use another checkpoint.")


def generators_of(model):
    """The variables that hold the states of a model's random generators; they are none of its weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _restore_callback(callback, state):
    try:
        callback.restore_epoch_state(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"The checkpoint's state of {type(callback).__name__} does not fit ({type(error).__name__}: {error}). "
            f"{_OTHER_VERSION}"
        ) from error


def _metric_variables(model):
    return [variable for metric in model.metrics for variable in metric.variables]


def build_metrics(model):
    """Make the compiled metrics' variables known, which Keras does in the first step: `model.metrics` lists them."""
    outputs = keras.ops.zeros((1, *model.output_shape[1:]))
    labels = keras.ops.zeros(outputs.shape if takes_rows(model) else (1,), "int32")

    def build():
        model.compute_metrics(None, labels, outputs)

    if hasattr(model, "distribute_strategy"):  # their variables are the replicas'
        model.distribute_strategy.run(build)
    else:
        build()
    model.reset_metrics()
