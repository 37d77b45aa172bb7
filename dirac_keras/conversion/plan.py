"""`Plan`: the layers of a branch made anew, with what is carried through them."""

import dataclasses
import math

import numpy as np

from dirac_keras.conversion.carried import carry
from dirac_keras.conversion.places import Places
from dirac_keras.conversion.steps import new_tensor
from dirac_keras.conversion.widening import below, beside, block, grown, ungrouped
from dirac_keras.folding.branches.window import Window
from dirac_keras.folding.refused import Refused

_MOST_FILL = 1.25  # carried channels may grow by so much to fill groups, where groups are a choice


class Plan:
    """The new steps of a branch, the skip's own window applied at a place in it.

    Args:
        reservation: `Reservation`.
        branch: list of `Step`, a dense one last.
        place: index of the step that applies the skip's window.
        looks_ahead: bool, whether a convolution leaves to a cropping behind it what that moves the image by. Else it
            moves it all itself, which a convolution behind the cropping may take back.
        grows: bool, whether the kernel at the place may become as large as the skip's window asks for.
    """

    def __init__(self, reservation, branch, place, looks_ahead=False, grows=False):
        self.reservation, self.branch, self.place, self.looks_ahead = reservation, branch, place, looks_ahead
        self.grows = grows
        self.skip, self.rank = reservation.skip, reservation.rank
        self.last = len(branch) - 1
        name = reservation.network.producer(reservation.start)
        what = f"what '{name.name}' gives" if name is not None else "the model's input"
        bounds = reservation.start_bounds
        self.before = self._carried(bounds, branch[:place], what) if place > self._first() else None
        self.behind = None
        if place < self.last:
            what = "what the skip's own convolution gives"
            self.behind = self._carried(bounds.through(self.skip), branch[place : self.last], what)
        if self.skip.is_padded and self.before is not None and self.before.has_shift:
            raise Refused("pads with zeros, which a shift of the carried channels would have to reach too")

    @property
    def count(self):
        return max(carried.count for carried in (self.before, self.behind) if carried is not None)

    def in_words(self):
        return "; behind its own convolution ".join(
            carried.in_words() for carried in (self.before, self.behind) if carried is not None
        )

    def _first(self):
        return next(place for place, step in enumerate(self.branch) if step.kind == "linear")

    def _carried(self, bounds, steps, what):
        activations = [(step.name, step.activation) for step in steps if step.activation is not None]
        found = carry(bounds, activations, what, self.reservation.in_pairs)
        return found.filled(self._multiple(found.count, steps))

    def _multiple(self, count, steps):
        """The number of channels that groups ask for, 1 if none do."""
        multiple, is_first = 1, True
        for step in steps:
            if step.kind != "linear":
                continue
            size, out = step.window.kernel.shape[-2], step.window.channels[1] // step.window.groups
            is_first, was_first = False, is_first
            if was_first or size != out or not step.takes_groups:
                continue
            wanted = math.lcm(multiple, size)
            is_choice = step.window.groups == 1
            if (self.reservation.grouped or not is_choice) and -(-count // wanted) * wanted <= _MOST_FILL * count:
                multiple = wanted
        return multiple

    def run(self):
        """List of the new steps, chained."""
        self.places = Places(self._sizes(), self.rank)
        self.own, self.state = None, None  # channels of the branch, and what is carried beside them
        tensor, steps = self.reservation.start, []
        for place, step in enumerate(self.branch):
            made = self._step(place, step)
            made.inputs, made.outputs = [tensor], [new_tensor()]
            tensor = made.outputs[0]
            steps.append(made)
        return steps

    def _sizes(self):
        return self.reservation.branch[0].sizes

    def _step(self, place, step):
        if step.kind == "linear":
            if place == self.place:
                return self._joining(place, step)
            return self._linear(place, step)
        if step.kind in ("pad", "pick"):
            self.places.pass_through(step)
            return step.changed()
        if step.kind == "scale":
            ones, zeros = np.ones(self.state.count), np.zeros(self.state.count)
            scale = np.concatenate([step.window.kernel.reshape(-1), ones])
            return step.changed(window=Window.scaling(scale, np.concatenate([step.window.bias, zeros]), self.rank))
        if step.slopes is not None:
            shape = list(step.slopes.shape)
            shape[step.axis - 1] = self.state.count
            return step.changed(slopes=np.concatenate([step.slopes, np.ones(shape)], axis=step.axis - 1))
        return step.changed()

    def _linear(self, place, step):
        """A step that carries: its own filters and Dirac ones."""
        target = self._target()
        window = step.window
        if place == self.last:  # behind the place: the skip's own output is added
            (tap,) = self.places.taps_of_skip(step, Window.identity(window.channels[1], self.rank)).values()
            return self._with(step, below(window, {tap: self.state.decode.T}), self.state.constant, is_added=True)
        if place > self.place:
            target = [0] * self.rank
        if self.looks_ahead:
            target = [a - b for a, b in zip(target, self._moved_behind(place), strict=True)]
        tap = self.places.dirac_tap(step, target)
        if self.state is None:  # its input holds the tensor itself
            self.state = self.before
            return self._with(step, beside(window, tap, self.before.encode.T), self.before.offset)
        size, out = window.kernel.shape[-2], window.channels[1] // window.groups
        count = self.state.count
        is_fitting = size == out and count % size == 0 and step.takes_groups
        is_grouped = is_fitting and (self.reservation.grouped or window.groups > 1)
        if is_grouped:
            carried = np.zeros((*window.taps, size, count))
            channels = np.arange(count)
            carried[(*tap, channels % size, channels)] = 1.0
            kernel = np.concatenate([window.kernel, carried], axis=-1)
            groups = window.groups + count // size
            return self._with(step, dataclasses.replace(window, kernel=kernel, groups=groups), np.zeros(count))
        return self._with(step, block(ungrouped(window), tap, np.eye(count)), np.zeros(count))

    def _target(self):
        """Pixels of the skip's tensor between place 0 of what is carried to the skip's window and pixel 0.

        The middle tap of the convolution that applies the window then sees what the window's middle tap sees; the last
        one, where its padding is causal.
        """
        step, target = self.branch[self.place].window, []
        is_causal = getattr(self.branch[self.place].layer, "padding", None) == "causal"
        for axis in range(self.rank):
            mine, theirs = (
                size - 1 if is_causal else (size - 1) // 2 for size in (step.taps[axis], self.skip.taps[axis])
            )
            seen = theirs - self.skip.before[axis]
            stride = self.skip.strides[axis] // step.strides[axis]
            is_window = self.skip.taps[axis] > 1
            target.append(seen - stride * (mine - step.before[axis]) if is_window else seen)
        return target

    def _moved_behind(self, place):
        """Pixels, one number an axis, by which padding and cropping behind a step move what is carried."""
        moved, strides = [0] * self.rank, list(self.places.stride)
        for at, step in enumerate(self.branch[place : self.last]):
            for axis in range(self.rank):
                if at and step.kind in ("pad", "pick"):
                    moved[axis] -= step.window.before[axis] * strides[axis]
                if step.window is not None:
                    strides[axis] *= step.window.strides[axis]
        return moved

    def _joining(self, place, step):
        """The step that applies the skip's window."""
        step = step.changed(window=ungrouped(step.window))
        if self.grows:
            step = grown(step, self.places.lacking(step, self.skip))
        taps = self.places.taps_of_skip(step, self.skip)
        skip = ungrouped(self.skip)
        decode = np.eye(skip.channels[0]) if self.state is None else self.state.decode
        constant = np.zeros(skip.channels[0]) if self.state is None else self.state.constant
        kernels = {there: decode.T @ skip.kernel[tap] for tap, there in taps.items()}
        bias = skip.bias + constant @ skip.kernel.sum(axis=tuple(range(self.rank)))
        self.places = Places((None,) * self.rank, self.rank)
        if place == self.last:
            return self._with(step, below(step.window, kernels), bias, is_added=True)
        encode = self.behind.encode.T
        kernels = {there: kernel @ encode for there, kernel in kernels.items()}
        offset = self.behind.offset + self.behind.encode @ bias
        window = step.window
        own = window.channels[0]
        inputs = own if self.state is None else own + self.state.count
        first = 0 if self.state is None else own
        kernel = np.zeros((*window.taps, inputs, window.channels[1] + self.behind.count))
        kernel[..., :own, : window.channels[1]] = window.kernel
        for tap, matrix in kernels.items():
            kernel[(*tap, slice(first, None), slice(window.channels[1], None))] += matrix
        self.state = self.behind
        return self._with(step, dataclasses.replace(window, kernel=kernel), offset)

    @staticmethod
    def _with(step, window, bias, is_added=False):
        """The step with another window, whose bias has that of the carried channels, or it is added."""
        bias = step.window.bias + bias if is_added else np.concatenate([step.window.bias, bias])
        return step.changed(window=dataclasses.replace(window, bias=bias))
