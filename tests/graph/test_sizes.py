"""Sizes for what a model leaves open."""

import keras
import pytest
from keras import layers

from dirac_keras.graph.sizes import possible_shapes


def test_sizes_that_are_too_small_are_passed_over_without_an_error():
    """The list goes down to 2 pixels, which a kernel of 9 does not take."""
    x = keras.Input((None, None, 1))
    found = list(possible_shapes(keras.Model(x, layers.Conv2D(2, 9)(x))))
    assert found[0] == [(4, 32, 32, 1)]
    assert min(shapes[0][1] for shapes in found) == 12


def test_model_that_takes_none_of_them_says_what_is_in_the_way():
    x = keras.Input((None, 1))
    model = keras.Model(x, layers.Conv1D(2, 5000)(x))
    with pytest.raises(ValueError, match="no shapes were found for the inputs"):
        list(possible_shapes(model))
