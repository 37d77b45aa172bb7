"""The variables of a model while a program has them."""

import contextlib


class ModelState:
    """What a training step of a model moves, as arrays: weights, statistics, the optimizer's, the metrics'.

    A program gives its input arrays away, so between two chunks the variables hold none that can be read. As in Keras'
    own `fit` they are written back when somebody asks: Keras' callbacks do so whenever they use `self.model`, by the
    model's method `jax_state_sync`.

    Args:
        model: compiled and built `keras.Model`, its metrics built too.
    """

    def __init__(self, model):
        self.model = model
        self._arrays = None  # None: the variables are up to date

    def take(self):
        """The arrays, for a program to use up. Returns: tuple of four lists."""
        if self._arrays is not None:
            return self._arrays
        return tuple([variable.value for variable in group] for group in variables_of(self.model))

    def give(self, arrays):
        """Keep what the program made of them."""
        self._arrays = arrays

    def write_back(self):
        """Bring the variables up to date."""
        if self._arrays is None:
            return
        arrays, self._arrays = self._arrays, None
        for group, values in zip(variables_of(self.model), arrays, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    @contextlib.contextmanager
    def attached(self):
        """Within, the variables are written back when somebody asks, and at its end in any case."""
        self.model.jax_state_sync = self.write_back
        try:
            yield self
        finally:
            del self.model.jax_state_sync
            self.write_back()


def variables_of(model):
    """Four lists, in the order of Keras' `train_step`."""
    return (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
