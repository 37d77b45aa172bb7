"""The range test: the suggestion by hand, and that it finds where a network learns and leaves nothing."""

import dataclasses
import math

import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.training import TrainConfig
from dirac_keras.training.building import build_optimizer
from dirac_keras.training.optimization.rate_finder import find_learning_rate, smooth, steepest
from pipelines import load_splits
from tests.run_checks import CONFIG

STEPS = np.arange(100)
FALL = 2 - np.tanh((STEPS - 60) / 8)  # from 3 to 1, fastest at step 60


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_suggestion_is_where_the_loss_falls_fastest(noise):
    losses = FALL + noise * np.random.default_rng(0).normal(size=100)
    losses[95:] = 50.0  # and diverges
    assert abs(steepest(losses) - 60) <= (5 if noise else 0)


@pytest.mark.parametrize(
    "losses",
    [STEPS * 0.1, np.ones(100), np.random.default_rng(0).normal(3, 0.1, 100), [], [2.0]],
    ids=["rising", "constant", "noise", "none", "one"],
)
def test_loss_that_does_not_fall_has_no_suggestion(losses):
    assert steepest(losses) is None


def test_smoothing_moves_no_fall():
    np.testing.assert_allclose(smooth(FALL)[60], FALL[60])  # symmetric around it
    np.testing.assert_allclose(smooth(np.full(20, 3.0)), 3.0)


@pytest.fixture(scope="module")
def found():
    config = TrainConfig(**{**CONFIG, "depth": 1, "recipe": "quick", "learning_rate_scaling": "linear"})
    seen = []
    test = find_learning_rate(
        config, load_splits(**config.data_arguments()), 1e-4, 1e4, 40, lambda *done: seen.append(done)
    )
    return test, seen, config


def test_rate_rises_by_the_same_factor(found):
    test, seen, _ = found
    ratios = np.array(test.rates[1:]) / np.array(test.rates[:-1])
    np.testing.assert_allclose(ratios, 10 ** (8 / 39), rtol=1e-6)
    assert len(test.rates) == len(test.losses) == len(test.smoothed) == len(seen)
    assert seen[0] == (1, 40)


def test_first_loss_is_the_untrained_networks_and_the_last_ones_diverge(found):
    test, _, _ = found
    assert 0.5 * math.log(10) < test.losses[0] < 3 * math.log(10)
    assert test.has_diverged and max(test.rates) < 1e4
    assert test.rates[0] < test.suggestion < test.rates[-1]
    at = test.rates.index(test.suggestion)
    assert test.smoothed[at] < test.smoothed[0]


def test_rate_of_a_scaled_config_is_the_one_that_gives_the_peak(found):
    test, _, config = found
    assert config.batch_size == 64 and config.base_batch_size == 128
    np.testing.assert_allclose(test.learning_rate, 2 * test.suggestion)


@pytest.mark.slow
def test_both_rates_of_muon_are_those_that_were_tried_together(found):
    assert found[0].muon_learning_rate is None  # another optimizer
    fields = {"recipe": "quick_muon", "learning_rate_scaling": "linear", "depth": 1, "base_batch_size": 128}
    config = TrainConfig(**{**CONFIG, **fields, "learning_rate": 0.1, "muon_learning_rate": 0.03})
    splits = load_splits(**config.data_arguments())
    test = find_learning_rate(config, splits, 1e-3, 1.0, 20)
    np.testing.assert_allclose(test.learning_rate, 2 * test.suggestion)
    trained = dataclasses.replace(config, learning_rate=test.learning_rate, muon_learning_rate=test.muon_learning_rate)
    optimizer = build_optimizer(trained, trained.peak_learning_rate, splits.steps_per_epoch)
    assert float(optimizer.learning_rate) == pytest.approx(test.suggestion)
    assert optimizer.muon_ratio == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        (
            {"lowest": 1.0, "highest": 0.1},
            {},
            "must be above 0 and below highest. Received lowest=1",
        ),
        ({"steps": 3}, {}, "steps must be 10 or more. Received steps=3"),
        ({}, {"accumulate_steps": 2}, "accumulate_steps must be 1 here"),
        ({}, {"recipe": "finetune"}, "recipe=finetune trains weights that are there"),
    ],
)
def test_mistake_is_named(options, fields, message):
    with pytest.raises(UserError, match=message):
        find_learning_rate(TrainConfig(**{**CONFIG, **fields}), None, **options)
