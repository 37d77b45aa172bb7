"""`benchmarks.options_on_images`: what a dearer option pays with, and its row."""

import pathlib

from benchmarks.options_on_images import RECIPE, Setting, images_of, rows_of

SETTING = Setting({"batch_size": 100}, 1000, None, pathlib.Path())


def test_a_step_that_takes_longer_gets_fewer_whole_batches():
    # 1,000 / 1.25 = 800; 1,000 / 1.5 = 666.7, six batches; within the error of the measurement as many as the recipe
    assert [images_of(SETTING, cost) for cost in (0.9, 1.1, 1.25, 1.5, 20)] == [1000, 1000, 800, 600, 100]


def test_a_row_has_the_difference_of_each_seed_from_the_recipes():
    figures = {RECIPE: {0: 0.50, 1: 0.60}, "optimizer muon": {0: 0.54, 1: 0.62}}
    _, row = rows_of(SETTING, figures, {RECIPE: 1.0, "optimizer muon": 1.25})
    assert row == ["optimizer muon", "1.25", "800", "58.00 (54.00 to 62.00)", "+3.00 (+2.00 to +4.00)"]
