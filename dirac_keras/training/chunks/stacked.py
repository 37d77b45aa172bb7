"""Several networks that differ in their seed alone as one program: their arrays stacked, the step mapped over them."""

import contextlib

import numpy as np

from dirac_keras.training.chunks.feeds import Cut, Feed, on_device, stored_arrays
from dirac_keras.training.chunks.program import ChunkProgram
from dirac_keras.training.chunks.state import variables_of


class StackedFeed(Feed):
    """The batches of several seeds, cut on the device out of stored data.

    Args:
        splits: sequence, a seed's each, see `feeds.StoredFeed`. Those whose images are the same share them.
        capacity: int, steps that a chunk has room for.
        place: `Placement` of one device.
    """

    def __init__(self, splits, capacity, place):
        super().__init__(capacity, place)
        parts = [list(column) for column in zip(*map(stored_arrays, splits), strict=True)]
        same = [all(part is column[0] or np.array_equal(part, column[0]) for part in column) for column in parts]
        self.axes = tuple(None if is_same else 0 for is_same in same)
        self.constants = tuple(
            on_device(place, column[0] if is_same else np.stack(column))
            for column, is_same in zip(parts, same, strict=True)
        )
        self._cut = Cut.of(splits[0])
        self._splits = list(splits)

    def items(self, step):
        for items in zip(*(self._cut.items(one, step) for one in self._splits), strict=True):
            yield {name: np.stack([item[name] for item in items]) for name in items[0]}  # (seeds, batch)

    def batch(self, constants, item):
        """Of one of the seeds."""
        return self._cut.batch(constants, item)


class StackedProgram(ChunkProgram):
    """`ChunkProgram` of several networks: every array of the state has their number in front, and so have the logs."""

    def step(self, state, constants, item):
        import jax

        return jax.vmap(super().step, in_axes=(0, self.feed.axes, 0))(state, constants, item)

    def logs(self, metrics):
        import jax

        return jax.vmap(super().logs)(metrics)


class StackedState:
    """The states of several networks, of which one model holds one at a time.

    Args:
        model: compiled and built `keras.Model`, its metrics built too.
        states: for each network a tuple of four lists of arrays, in the order of Keras' `train_step`.

    Attributes:
        arrays: tuple of four lists, each array `(networks, ...)`.
    """

    def __init__(self, model, states):
        self.model = model
        self._chosen = None
        self.put_together(states)

    def put_together(self, states):
        """Take the networks' states in place of what there is."""
        self.arrays = tuple(
            [np.stack(list(map(np.asarray, values))) for values in zip(*groups, strict=True)]
            for groups in zip(*states, strict=True)
        )

    def choose(self, index):
        """Have the model hold a network once somebody asks for it, as Keras' callbacks do by `jax_state_sync`."""
        self._chosen = index
        self.model.jax_state_sync = self._load

    @contextlib.contextmanager
    def loaded(self, index):
        """Within, the model holds a network and is Keras' own."""
        self.choose(index)
        self._load()
        del self.model.jax_state_sync
        yield self.model

    def _load(self):
        import jax

        if self._chosen is None:
            return
        index, self._chosen = self._chosen, None
        arrays = jax.tree.map(lambda array: array[index], self.arrays)
        for group, values in zip(variables_of(self.model), arrays, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)


def snapshot(model):
    """What a model holds, as one of the `states` of `StackedState`: NumPy arrays."""
    return tuple([np.asarray(variable.value) for variable in group] for group in variables_of(model))
