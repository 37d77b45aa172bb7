import numpy as np
import pytest

from dirac_keras.evaluation.labels import best_threshold, f1_scores, label_figures
from dirac_keras.evaluation.values import value_figures

TRUTH = np.array([[1, 0], [0, 0], [1, 0], [0, 0]])
GIVEN = np.array([[0.9, 0.1], [0.8, 0.6], [0.7, 0.2], [0.1, 0.1]])


def test_average_precision_by_hand():
    first, second = label_figures(TRUTH, GIVEN, ["x", "y"])
    # In order of probability: right, wrong, right: 1/2 x 1/1 + 1/2 x 2/3.
    assert first.average_precision == pytest.approx(0.5 + 1 / 3)
    assert (first.precision, first.recall, first.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert second.average_precision is None
    assert (second.support, second.predicted, second.precision, second.recall) == (0, 1, 0.0, None)


def test_means_of_f1():
    macro, micro = f1_scores(TRUTH, GIVEN)
    assert macro == pytest.approx(0.4)  # of 0.8 and 0
    assert micro == pytest.approx(2 * 2 / (2 * 2 + 2))  # 2 right, 2 too many


def test_one_label_alone_is_a_label():
    (only,) = label_figures(TRUTH[:, :1], GIVEN[:, :1], ["x"])
    assert (only.name, only.support) == ("x", 2)
    assert only.f1 == pytest.approx(0.8)
    assert f1_scores(TRUTH[:, :1], GIVEN[:, :1]) == pytest.approx((0.8, 0.8))


def test_the_best_threshold_lies_between_two_images():
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(0.25)
    assert best_threshold(np.array([0, 0]), np.array([0.1, 0.2])) is None
    assert 0.0 <= best_threshold(np.array([1, 1]), np.array([0.3, 0.2])) < 0.2  # all have it
    assert -1e-6 < best_threshold(np.array([1, 1, 1]), np.array([0.5, 0.0, 0.0])) < 0.0  # those of 0 too


def test_a_threshold_is_tested_on_images_that_did_not_fit_it():
    """A network whose probabilities are all below 0.5, and in the right order, has an F1 of 0 and could have 1."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200, 1))
    (found,) = label_figures(truth, 0.1 + 0.2 * truth + 0.01 * rng.random((200, 1)), ["x"])
    assert found.f1_held_out == 0.0
    assert found.f1_at_threshold == 1.0
    assert 0.11 < found.threshold < 0.3


def test_values_by_hand():
    found = value_figures(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[1.0, 4.0], [2.0, 6.0]]), ["x", "y"])
    assert found[0].mean_absolute_error == 0.5
    assert found[0].root_mean_squared_error == pytest.approx(0.5**0.5)
    assert found[0].r2 == pytest.approx(1 - 1 / 2)  # squared errors 0 + 1 of deviations 1 + 1
    assert (found[0].deviation, found[1].deviation, found[1].r2) == (1.0, 0.0, None)
