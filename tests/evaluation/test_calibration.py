import numpy as np
import pytest

from dirac_keras.evaluation.calibration import (
    confidences_at,
    expected_error,
    fit_temperature,
    mean_gap,
    reliability,
    scale,
)


def test_expected_error_of_two_bins():
    # In (0.9, 1.0]: |0.5 - 0.95| of half of the images; in (0.5, 0.6]: |0.5 - 0.55| of the other half.
    rows = reliability([0.95, 0.95, 0.55, 0.55], [True, False, True, False], bins=10)
    assert [row.images for row in rows] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert expected_error(rows) == pytest.approx(0.25)
    assert mean_gap(rows) == pytest.approx(0.25)


def test_too_sure_and_too_unsure_do_not_cancel_in_the_error_and_do_in_the_gap():
    rows = reliability([0.8, 0.8, 0.4, 0.4], [True, False, True, False], bins=10)
    assert expected_error(rows) == pytest.approx(0.2)
    assert mean_gap(rows) == pytest.approx(0.1)


def test_a_bin_has_its_upper_border():
    rows = reliability([0.0, 0.5, 1.0, 1.0 + 1e-7], [True] * 4, bins=2)
    assert [row.images for row in rows] == [2, 2]
    assert rows[0].confidence == pytest.approx(0.25)


def test_empty_bins_have_no_figures():
    assert reliability([0.9], [True], bins=2)[0] == type(reliability([0.9], [True])[0])(0.0, 0.5, 0, None, None)
    with pytest.raises(ValueError, match="an image or more"):
        expected_error(reliability([], []))


def margins(right, wrong, margin=2.0):
    """Logits of two classes that differ by a margin, of which so many are right."""
    logits = np.tile([margin, 0.0], (right + wrong, 1))
    return logits, np.array([0] * right + [1] * wrong)


def test_temperature_makes_the_confidence_what_the_share_of_right_answers_is():
    logits, labels = margins(right=3, wrong=1)
    temperature, is_at_bound = fit_temperature(logits, labels)
    assert temperature == pytest.approx(2 / np.log(3), rel=1e-4)  # sigmoid(2 / T) = 3/4
    assert not is_at_bound
    assert confidences_at(logits, temperature) == pytest.approx([0.75] * 4, abs=1e-4)


def test_temperature_is_the_same_for_logits_and_log_probabilities():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 5)) * 3, rng.integers(0, 5, 200)
    shifted = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert fit_temperature(logits, labels)[0] == pytest.approx(fit_temperature(shifted, labels)[0], rel=1e-4)


def test_images_that_are_all_right_say_no_temperature():
    temperature, is_at_bound = fit_temperature(*margins(right=4, wrong=0))
    assert is_at_bound
    assert temperature == pytest.approx(0.05, rel=0.01)


def test_a_scaling_is_measured_on_images_that_did_not_fit_it():
    logits, labels = margins(right=300, wrong=100)
    found = scale(logits, labels)
    assert (found.images_fitted, found.images_held_out) == (200, 200)
    sure = 1 / (1 + np.exp(-2))
    assert found.before == pytest.approx(abs(sure - 0.75), abs=0.1)  # 200 draws: a deviation of 0.03 is usual
    assert found.after < found.before
    # The temperature fits its own half exactly, so what is left is the difference of the halves.
    halves = np.array_split(np.random.default_rng(0).permutation(400), 2)
    shares = [np.mean(labels[half] == 0) for half in halves]
    assert found.after == pytest.approx(abs(shares[0] - shares[1]), abs=1e-3)


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="two images or more"):
        scale(np.zeros((1, 2)), [0])
