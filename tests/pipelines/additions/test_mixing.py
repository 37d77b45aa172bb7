import numpy as np
import pytest

from pipelines.additions.boxes import AREA, ERASE_CHANCES, cut_boxes, erased_boxes
from pipelines.additions.mixing import Mixture, draw_mixture, mix_images, mix_labels, one_hot


def chances(count, columns, seed=0):
    return np.random.default_rng(seed).random((count, columns)).astype("float32")


def test_a_quarter_of_one_image_and_three_of_the_next():
    images, others = (np.full((1, 2, 2, 1), level, np.uint8) for level in (100, 200))
    mixture = Mixture(np.array([64], np.int32), np.zeros((1, 4), np.int32), np.array([0.25], np.float32))
    assert (mix_images(images, others, mixture) == 175).all()
    labels = mix_labels(one_hot(np.array([2]), 3), one_hot(np.array([0]), 3), mixture.label_shares)
    assert labels.tolist() == [[0.75, 0.0, 0.25]]


def test_two_images_of_one_class_are_that_class():
    rows = one_hot(np.array([1]), 3)
    assert mix_labels(rows, rows, np.array([0.3], np.float32)).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_of_mixup_have_the_mean_and_variance_of_their_beta_distribution(alpha):
    mixture = draw_mixture(alpha, 0.0, chances(20000, 4), (8, 8))
    shares = mixture.shares / 256
    # Standard errors of the mean and of the variance of 20,000 draws are below 0.004 and 0.002.
    assert shares.mean() == pytest.approx(0.5, abs=0.015)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.008)
    assert not mixture.boxes.any() and np.array_equal(mixture.label_shares, shares.astype("float32"))


def test_a_box_is_cut_at_the_border_and_the_label_follows_what_is_left():
    # A share of 3/4 leaves a box of half the sides, 4 x 4; around the corner 2 x 2 of it lie inside.
    half = np.array([0.75])
    assert cut_boxes(half, np.array([[0.0, 0.0]]), (8, 8)).tolist() == [[0, 0, 2, 2]]
    assert cut_boxes(half, np.array([[0.5, 0.99]]), (8, 8)).tolist() == [[2, 5, 4, 3]]
    assert cut_boxes(np.array([0.0]), np.array([[0.5, 0.5]]), (8, 6)).tolist() == [[0, 0, 8, 6]]


def test_cutmix_takes_the_next_image_in_the_box_and_its_label_by_the_box_s_area():
    mixture = draw_mixture(0.0, 1.0, chances(500, 4), (8, 8))
    images, others = (np.full((500, 8, 8, 1), level, np.uint8) for level in (10, 250))
    mixed = mix_images(images, others, mixture)
    assert set(np.unique(mixed)) == {10, 250}
    assert np.array_equal((mixed == 10).mean((1, 2, 3)).astype("float32"), mixture.label_shares)
    expected = np.full_like(mixed, 10)
    for image, (top, left, height, width) in zip(expected, mixture.boxes, strict=True):
        image[top : top + height, left : left + width] = 250
    assert np.array_equal(mixed, expected)
    assert mixture.label_shares.min() < 0.2 and mixture.label_shares.max() > 0.95


def test_with_both_half_of_the_images_are_mixed_each_way():
    mixture = draw_mixture(1.0, 1.0, chances(4000, 4), (8, 8))
    assert np.mean(mixture.shares == 256) == pytest.approx(0.5, abs=0.04)  # standard error 0.008
    has_box = mixture.boxes[:, 2] > 0
    assert (mixture.shares[has_box] == 256).all()


def test_labels_of_several_and_numbers_are_mixed_as_they_are():
    rows = np.array([[1, 0, 1], [0, 0, 1]])
    mixed = mix_labels(one_hot(rows, 3), one_hot(rows[::-1], 3), np.array([0.75, 0.75], np.float32))
    assert mixed.tolist() == [[0.75, 0, 1], [0.25, 0, 1]] and mixed.dtype == np.float32


def test_erased_boxes_have_their_area_and_lie_inside():
    boxes = erased_boxes(1.0, chances(5000, ERASE_CHANCES), (32, 48))
    taken = boxes[boxes[:, 2] > 0]
    assert len(taken) > 4900  # ten tries hardly ever fail
    assert (taken[:, :2] >= 0).all() and (taken[:, :2] + taken[:, 2:] <= (32, 48)).all()
    shares = taken[:, 2] * taken[:, 3] / (32 * 48)
    # To the pixel: sides of 5 pixels are rounded by a tenth.
    assert shares.min() > AREA[0] * 0.75 and shares.max() < AREA[1] * 1.1
    assert shares.mean() == pytest.approx(sum(AREA) / 2, abs=0.02)
    assert np.unique(taken[:, 0]).size > 20 and np.unique(taken[:, 1]).size > 30


def test_so_many_images_lose_a_part():
    boxes = erased_boxes(0.25, chances(4000, ERASE_CHANCES), (32, 32))
    assert np.mean(boxes[:, 2] > 0) == pytest.approx(0.25, abs=0.03)  # standard error 0.007
    assert not boxes[boxes[:, 2] == 0][:, 3].any()
