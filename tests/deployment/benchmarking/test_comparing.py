"""Outputs of two artefacts, compared by numbers worked by hand."""

import math

import numpy as np
import pytest

from dirac_keras.deployment.benchmarking.comparing import classes_of, compare, named_outputs, units_of


def test_agreement_difference_and_ratio_are_those_worked_by_hand():
    reference = {"logits": np.array([[3.0, 0.0], [0.0, 4.0]])}
    outputs = {"logits": np.array([[3.0, 0.0], [0.5, 0.0]])}
    found = compare(outputs, reference)
    # Both name class 0 for the first; for the second 0 stands against 1. Noise 0.5^2 + 4^2, signal 3^2 + 4^2.
    assert found["agreement"] == 0.5 and found["max_abs_difference"] == 4.0 and found["compared"] == "logits"
    assert found["sqnr_db"] == pytest.approx(10 * math.log10(25 / 16.25))


def test_logits_come_before_probabilities_and_equal_ones_have_no_ratio():
    both = {"logits": np.array([[1.0, 2.0]]), "probabilities": np.array([[0.3, 0.7]])}
    assert compare(both, both) == {"agreement": 1.0, "compared": "logits", "max_abs_difference": 0.0, "sqnr_db": None}
    assert compare({"probabilities": both["probabilities"]}, both)["compared"] == "probabilities"
    assert compare({"logits": both["logits"]}, {"probabilities": both["probabilities"]})["compared"] is None


def test_one_number_is_the_second_of_two_classes():
    assert classes_of({"logits": np.array([[-0.1], [0.2]])}).tolist() == [0, 1]
    assert classes_of({"probabilities": np.array([[0.4], [0.6]])}).tolist() == [0, 1]
    assert units_of({"logits": np.array([[-0.1]])}) == 2


def test_single_output_of_another_name_is_told_by_its_numbers():
    assert list(named_outputs({"Identity:0": np.array([[0.25, 0.75]], "float32")})) == ["probabilities"]
    assert list(named_outputs({"Identity:0": np.array([[2.0, -1.0]], "float32")})) == ["logits"]
    assert named_outputs({"a": np.zeros((2, 3), "float32"), "b": np.zeros((2, 3), "float32")}) == {}
    assert list(named_outputs({"logits": np.zeros((2, 3)), "embedding": np.zeros((2, 9))})) == ["logits"]
