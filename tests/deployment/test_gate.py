"""The gate: what may be lost, by numbers worked by hand."""

import numpy as np
import pytest

from dirac_keras.deployment.quantization import Gate
from dirac_keras.errors import RunError

# Sum of squares 100; the noise of `AFTER` is one number of 1, so 20 dB; the last image changes its class.
BEFORE = np.array([[7.0, 1.0], [5.0, 3.0], [1.0, 3.0], [2.0, 1.4142135623730951]])
AFTER = BEFORE - np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
LABELS = np.array([0, 0, 1, 0])


def test_figures_of_two_networks():
    result = Gate().check(BEFORE, AFTER, LABELS)
    assert result.sqnr_db == pytest.approx(20.0)
    assert (result.accuracy_before, result.accuracy, result.accuracy_drop) == (1.0, 0.75, 25.0)
    assert result.agreement == 0.75
    assert result.passed
    assert str(result) == "SQNR 20.0 dB, same class 75.00%, accuracy 100.00% -> 75.00% (-25.00 points) on 4 images"
    assert result.to_dict()["accuracy_drop"] == 25.0


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (Gate(max_accuracy_drop=25), True),
        (Gate(max_accuracy_drop=24.9), False),
        (Gate(min_sqnr=19.9), True),
        (Gate(min_sqnr=20.1), False),
        (Gate(max_accuracy_drop=25, min_sqnr=20.1), False),
    ],
)
def test_a_gate_stands_where_it_was_put(gate, passed):
    assert gate.check(BEFORE, AFTER, LABELS).passed is passed


def test_a_gate_that_is_not_met_says_all_that_failed_and_the_ways_out():
    with pytest.raises(RunError) as error:
        Gate(max_accuracy_drop=0.3, min_sqnr=35).require(BEFORE, AFTER, LABELS)
    assert "drops by 25.00 points, 100.00% to 75.00% on 4 images, more than `max_accuracy_drop=0.3`" in str(error.value)
    assert "20.0 dB, less than `min_sqnr=35`. Nothing was written. More `calibration` images" in str(error.value)


def test_numbers_that_are_none_fail_any_gate():
    assert not Gate(min_sqnr=-100).check(BEFORE, np.full_like(BEFORE, np.nan)).passed
    assert not Gate(max_accuracy_drop=99).check(BEFORE, np.full_like(BEFORE, np.nan), LABELS).passed


def test_one_logit_is_the_second_of_two_classes():
    result = Gate().check([[1.0], [-1.0]], [[2.0], [1.0]], [1, 0])
    assert (result.accuracy_before, result.accuracy) == (1.0, 0.5)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="`max_accuracy_drop` needs labels"):
        Gate(max_accuracy_drop=1).check(BEFORE, AFTER)
    with pytest.raises(ValueError, match=r"from 0 to 100\. Received max_accuracy_drop=-1"):
        Gate(max_accuracy_drop=-1)
    with pytest.raises(ValueError, match=r"min_sqnr must be a number\. Received min_sqnr='35'"):
        Gate(min_sqnr="35")
