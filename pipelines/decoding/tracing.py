"""Functions of tensors that TensorFlow traces once a process."""

from __future__ import annotations

import functools

import tensorflow as tf


def traced_once(*specs):
    """A decorator for a function of as many tensors as there are `specs`, and of hashable settings behind them.

    Traced once for each value of the settings, whoever calls it: a decoder is a graph of some thousand operations, and
    to trace it takes each stream of tf.data a second.
    """

    def decorate(function):
        @functools.cache
        def with_settings(*settings):
            return tf.function(
                lambda *tensors: function(*tensors, *settings), input_signature=list(specs), autograph=False
            )

        @functools.wraps(function)
        def call(*arguments):
            return with_settings(*arguments[len(specs) :])(*arguments[: len(specs)])

        return call

    return decorate
