"""Where a chunk of steps must end: at the next step after which a callback acts.

A callback may have `next_step(step)`: of the steps of the run that are done, the next number of them at which it must
be called, or None if the end of the epoch will do. One without it that has something to do for batches must be called
for every one.
"""

import keras

from dirac_keras.errors import UserError

_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def flatten(callbacks):
    """The callbacks, those among them that call others replaced by these."""
    found = []
    for callback in callbacks:
        inner = getattr(callback, "callbacks", None)
        found += flatten(inner) if isinstance(inner, (list, tuple)) else [callback]
    return found


def needs_every_step(callback):
    """Whether a callback acts on batches and does not say on which."""
    if hasattr(callback, "next_step"):
        return False
    return any(_is_overridden(callback, hook) for hook in _HOOKS)


def _is_overridden(callback, hook):
    own = getattr(callback, hook, None)  # a function of the instance, as of Keras' LambdaCallback, has no `__func__`
    default = getattr(keras.callbacks.Callback, hook)
    return own is not None and getattr(own, "__func__", None) is not default


def next_end(callbacks, step, last):
    """The number of finished steps at which the chunk that begins after `step` must end.

    Args:
        callbacks: list of Keras callbacks.
        step: int, finished steps of the run.
        last: int, where the chunk ends if no callback asks for less.
    """
    end = last
    for callback in flatten(callbacks):
        if needs_every_step(callback):
            return step + 1
        if hasattr(callback, "next_step"):
            wanted = callback.next_step(step)
            if wanted is not None:
                end = min(end, max(wanted, step + 1))
    return end


def longest_chunk(callbacks, most):
    """The steps that a chunk has at most: one if a callback must be called for every step, else `most`."""
    return 1 if any(map(needs_every_step, flatten(callbacks))) else most


def refuse_every_step(callbacks, steps_per_execution):
    """Raise UserError if one of the caller's callbacks must be called for every step.

    Args:
        callbacks: list of Keras callbacks.
        steps_per_execution: int that the user gave, above 1.
    """
    for callback in flatten(callbacks):
        if needs_every_step(callback):
            raise UserError(
                f"`steps_per_execution` above 1 calls callbacks only where a chunk of steps ends. Received "
                f"steps_per_execution={steps_per_execution} with the callback {type(callback).__name__}, which acts on "
                "every batch: give it a method `next_step(step)` that names the next step it needs, or leave "
                "`steps_per_execution` out."
            )
