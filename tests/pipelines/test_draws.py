"""The draws of training batches: functions of (seed, step), even, and independent of each other."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import draws
from pipelines.augmentation import AUGMENTATIONS, Augmentation, find_augmentation
from pipelines.draws import BatchDraws, epoch_order

CIFAR = AUGMENTATIONS["cifar"]


def test_streams_are_those_of_philox_by_its_definition():
    """Ten rounds of Philox 4x64 by hand: NumPy counts up before the first block.

    A stream that changed would break every run that is resumed.
    """
    seed, purpose, number = 3, draws.FLIP, 5
    block, key, mask = [1, 0, number, 0], [seed, purpose], 2**64 - 1
    for _ in range(10):
        one, two = 0xD2E7470EE14C6C93 * block[0], 0xCA5A826395121157 * block[2]
        block = [two >> 64 ^ block[1] ^ key[0], two & mask, one >> 64 ^ block[3] ^ key[1], one & mask]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    assert draws.bits(seed, purpose, number, (2, 2)).ravel().tolist() == block


def test_numbers_are_the_upper_bits(monkeypatch):
    words = np.array([0, 2**63, 2**64 - 1, 2**64 // 9], np.uint64)
    monkeypatch.setattr(draws, "bits", lambda *_: words)
    assert draws.uniform(0, 0, 0, (4,)).tolist() == [0.0, 0.5, 1 - 2**-24, np.floor(2**24 / 9) / 2**24]
    assert draws.integers(0, 0, 0, (4,), 9).tolist() == [0, 4, 8, 0]


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), seed=st.integers(0, 2**63 - 1))
def test_epoch_visits_each_example_at_most_once(count, batch_size, seed):
    batch_size = min(batch_size, count)
    drawn = BatchDraws(count, batch_size, seed, CIFAR)
    for epoch in (0, 1, 10**9):
        start = epoch * drawn.steps_per_epoch
        visited = drawn.chunk(start, drawn.steps_per_epoch).positions.ravel()
        assert len(set(visited)) == len(visited) == drawn.steps_per_epoch * batch_size
        assert set(visited) <= set(range(count))


def test_orders_of_successive_epochs_and_seeds_are_not_correlated():
    """The root mean square of 30 correlations of independent orders of 5,000 is 1 / sqrt(5000), give or take 13 %."""
    for orders in ([epoch_order(0, 5000, k) for k in range(31)], [epoch_order(k, 5000, 0) for k in range(31)]):
        correlations = [np.corrcoef(one, two)[0, 1] for one, two in itertools.pairwise(orders)]
        assert np.sqrt(np.mean(np.square(correlations))) < 1.6 / np.sqrt(5000)


def test_draws_of_a_step_do_not_depend_on_how_it_was_reached():
    drawn = BatchDraws(1000, 10, 7, AUGMENTATIONS["imagenet"])
    chunk = drawn.chunk(95, 10)  # over an epoch's end
    for k in (9, 0, 5):
        one = BatchDraws(1000, 10, 7, AUGMENTATIONS["imagenet"])(95 + k)
        for name in draws.Draws._fields:
            np.testing.assert_array_equal(getattr(chunk, name)[k], getattr(one, name), name)


def test_another_seed_step_or_purpose_gives_other_draws():
    first = BatchDraws(64, 64, 0, CIFAR)(0)
    for other in (BatchDraws(64, 64, 1, CIFAR)(0), BatchDraws(64, 64, 0, CIFAR)(1)):
        for name in ("positions", "rows", "columns", "flips"):
            assert not np.array_equal(getattr(first, name), getattr(other, name)), name
    assert not np.array_equal(first.rows, first.columns)


def test_what_is_not_asked_for_changes_no_other_draw():
    """So that runs with and without a flip, say, compare image by image."""
    with_flip, without = (BatchDraws(64, 64, 0, dataclasses.replace(CIFAR, flip=flip))(3) for flip in (True, False))
    np.testing.assert_array_equal(with_flip.rows, without.rows)
    np.testing.assert_array_equal(with_flip.positions, without.positions)
    assert with_flip.flips.any() and not without.flips.any()


def flips_by_example(drawn, epoch):
    """`(examples,)` bool of one epoch."""
    chunk = drawn.chunk(epoch * drawn.steps_per_epoch, drawn.steps_per_epoch)
    flips = np.zeros(drawn.num_examples, bool)
    flips[chunk.positions.ravel()] = chunk.flips.ravel()
    return flips


def test_alternating_flips_show_each_image_from_both_sides_by_turns():
    """Half of the 1,000 images in the first epoch, within five standard deviations, and each one's turn is its own."""
    drawn = BatchDraws(1000, 100, 3, dataclasses.replace(CIFAR, alternating=True))
    first = flips_by_example(drawn, 0)
    assert abs(first.sum() - 500) < 5 * np.sqrt(250)
    np.testing.assert_array_equal(flips_by_example(drawn, 1), ~first)
    np.testing.assert_array_equal(flips_by_example(drawn, 4), first)
    other = flips_by_example(dataclasses.replace(drawn, seed=4), 0)
    assert 0.3 < np.mean(other == first) < 0.7  # half of them, as chance has it


def test_alternating_flips_change_no_other_draw():
    drawn = BatchDraws(64, 64, 0, CIFAR)(5)
    by_turns = BatchDraws(64, 64, 0, dataclasses.replace(CIFAR, alternating=True))(5)
    for name in ("positions", "rows", "columns"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(by_turns, name))


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("cifar", Augmentation(padding=2, flip=True, alternating=True)),
        ("digits", Augmentation(padding=1, mode="CONSTANT")),
        ("fashion", Augmentation(padding=2, mode="CONSTANT", flip=True, alternating=True)),
        ("imagenet", Augmentation(resized_crop=True, flip=True, alternating=True)),
    ],
)
def test_alternating_is_the_sets_own_augmentation_with_small_shifts(own, expected):
    assert find_augmentation("alternating", own) == expected
    assert find_augmentation("auto", own) == AUGMENTATIONS[own]
    assert find_augmentation("flip", own) == AUGMENTATIONS["flip"]


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_windows_and_flips_are_even(padding):
    """Each of 10,000 draws' counts lies within five standard deviations of its expectation."""
    drawn = BatchDraws(10000, 10000, 1, Augmentation(padding=padding, flip=True))(2)
    choices = 2 * padding + 1
    for values, count in ((drawn.rows, choices), (drawn.columns, choices), (drawn.flips.astype(int), 2)):
        found = np.bincount(values, minlength=count)
        assert len(found) == count
        assert np.abs(found - 10000 / count).max() <= 5 * np.sqrt(10000 / count)


def test_crops_are_spread_as_the_paper_says():
    """Area even on its range, log aspect even, place even, each on its own; within four standard errors."""
    heights, widths, place = draws.crop_draws(0, 4, 20000)
    assert heights.shape == widths.shape == (20000, 10) and place.shape == (20000, 2)
    area, aspect = heights * widths, np.log(widths / heights) / np.log(4 / 3)
    for sample, low, high in ((area[:, 3], 0.08, 1), (aspect[:, 0], -1, 1), (place[:, 1], 0, 1)):
        deviation = (high - low) / np.sqrt(12)
        assert low - 1e-5 <= sample.min() and sample.max() <= high + 1e-5
        assert abs(sample.mean() - (low + high) / 2) < 4 * deviation / np.sqrt(20000)
    assert abs(np.corrcoef(area[:, 0], aspect[:, 0])[0, 1]) < 4 / np.sqrt(20000)
    assert place.max() < 1


def test_order_that_is_kept_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        BatchDraws(10, 5, 0, CIFAR).positions(0)[0] = 3
