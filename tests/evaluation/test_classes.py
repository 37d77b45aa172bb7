import numpy as np
import pytest

from dirac_keras.evaluation.classes import Confusion, class_figures, macro

NAMES = ["a", "b", "c", "d"]
LABELS = np.array([0, 0, 0, 0, 1, 1, 2])
GIVEN = np.array([0, 0, 0, 1, 1, 0, 1])  # c is never given, d never occurs


def test_figures_by_hand():
    a, b, c, d = class_figures(LABELS, GIVEN, NAMES)
    assert (a.precision, a.recall, a.f1, a.support, a.predicted) == (0.75, 0.75, 0.75, 4, 4)
    assert (b.precision, b.recall) == pytest.approx((1 / 3, 1 / 2))
    assert b.f1 == pytest.approx(0.4)  # 2 x 1 / (2 x 1 + 2 + 1)
    assert (c.precision, c.recall, c.f1, c.support, c.predicted) == (None, 0.0, 0.0, 1, 0)
    assert (d.precision, d.recall, d.f1, d.support, d.predicted) == (None, None, None, 0, 0)


def test_means_are_over_the_classes_that_occur():
    figures = class_figures(LABELS, GIVEN, NAMES)
    assert macro(figures, "recall") == pytest.approx((0.75 + 0.5 + 0.0) / 3)
    assert macro(figures, "precision") == pytest.approx((0.75 + 1 / 3 + 0.0) / 3)  # c, never given, counts as 0


def test_confusion_by_hand():
    found = Confusion.of(LABELS, GIVEN, 4)
    assert found.matrix().tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert found.worst() == [(0, 1, 1, 0.25), (1, 0, 1, 0.5), (2, 1, 1, 1.0)]
    assert found.worst(1) == [(0, 1, 1, 0.25)]


def test_most_confused_pairs_come_first():
    labels, given = np.repeat([0, 1, 2], [1, 3, 2]), np.repeat([1, 2, 0], [1, 3, 2])
    assert [pair[:3] for pair in Confusion.of(labels, given, 3).worst()] == [(1, 2, 3), (2, 0, 2), (0, 1, 1)]


def test_a_thousand_classes_are_kept_as_the_pairs_that_occur():
    rng = np.random.default_rng(0)
    labels, given = rng.integers(0, 1000, (2, 500))
    found = Confusion.of(labels, given, 1000)
    assert len(found.images) <= 500
    assert found.images.sum() == 500
    assert found.matrix()[labels[0], given[0]] >= 1
