"""The readings of the VAN paper: the recursion is eq. 7 and 8, and "as it stands" is what the package trains."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.van_readings import (
    CONV,
    DENSE,
    READINGS,
    Reading,
    Setting,
    closed_form,
    describe,
    gone_step,
    layer_gradients,
    simulate,
)
from benchmarks.van_timetable import main, train_table

ALONE = [np.zeros(1)]


@pytest.mark.parametrize(("setting", "start"), [(CONV, -1.0), (CONV, 0.0), (DENSE, 0.0)])
def test_recursion_without_momentum_is_the_closed_form(setting, start):
    """At the closed form's step alpha is 1; the residual is below a thousandth where 1 - alpha is below 0.032."""
    residuals = simulate(Reading(start=start, has_momentum=False), setting, ALONE)
    expected = closed_form(setting, start)
    assert 0.97 * expected <= gone_step(residuals) <= expected + 1


def test_first_steps_with_momentum_by_hand():
    """Rate 0.1, momentum 0.9, lambda = -1 throughout: alpha is 0.1, 0.29, 0.561, 0.9049 and then 1."""
    residuals = simulate(Reading(), Setting(0.1, 0.0, 100, 1), ALONE)
    np.testing.assert_allclose(residuals, [1, 0.9**2, 0.71**2, 0.439**2, 0.0951**2, 0], atol=1e-12)


def test_multiplier_moves_after_alpha():
    """Eq. 8 with eta' = 0.05 from alpha = 0.1: lambda is -1.045, so alpha becomes 0.2045 without momentum."""
    residuals = simulate(Reading(has_momentum=False), Setting(0.1, 0.5, 100, 1), ALONE, max_steps=2)
    np.testing.assert_allclose(residuals[1:], [0.9**2, 0.7955**2], atol=1e-12)


def test_gradient_of_the_cost_holds_a_skip_until_lambda_has_passed_it():
    """One unit of two pulls with 2: after ten steps lambda is -2, then alpha is 0, 0.1, 0.29, 0.551, 0.857, 1."""
    setting = Setting(1.0, 0.1, 1000, 1)
    residuals = simulate(Reading(has_momentum=False), setting, [np.array([0.0, 2.0])])
    assert residuals[1] == residuals[10] == 0.5 and gone_step(residuals) == 16


def test_readings_change_the_gradient_as_they_say():
    gradients = [np.array([0.1, 0.3]), np.array([0.5])]
    for reading, expected in (
        (Reading(), [0.1, 0.3, 0.5]),
        (Reading(per_layer=True), [0.4, 0.4, 0.5]),
        (Reading(summed_loss=True), [12.8, 38.4, 64]),
        (Reading(per_layer=True, summed_loss=True), [51.2, 51.2, 64]),
    ):
        np.testing.assert_allclose(np.concatenate(layer_gradients(reading, gradients, 128)), expected)


def test_updates_once_an_epoch_take_as_many_epochs_as_the_others_steps():
    setting = dataclasses.replace(CONV, steps_per_epoch=3)
    steps = gone_step(simulate(READINGS["as it stands"], setting, ALONE))
    assert gone_step(simulate(READINGS["updates once an epoch"], setting, ALONE)) == 3 * steps


def test_claim_is_met_by_the_rate_of_section_4_1_alone():
    """Of the readings of the convolutional training, those with eta = 0.001 for alpha: in steps, or in epochs."""
    met = {}
    for name, reading in READINGS.items():
        _, units = describe(gone_step(simulate(reading, CONV, [np.zeros(n) for n in (16, 32)])), CONV)
        if units:
            met[name] = units
    assert met == {"eta of alpha 0.001, as in 4.1": "steps", "once an epoch, eta of alpha 0.001": "epochs"}


@pytest.mark.slow
def test_recursion_takes_measured_gradients(tmp_path):
    record = {"layout": "dense", "gradients": {"0": [[0.0] * 50] * 30, "50": [[0.01] * 50] * 30}}
    (tmp_path / "dense.json").write_text(json.dumps(record))
    result = CliRunner().invoke(main, ["recursion", str(tmp_path / "dense.json")], catch_exceptions=False)
    assert "| as it stands | step 105 (epoch 0.224) | steps | step 106 (epoch 0.226) | steps |" in result.output


def test_table_of_trainings():
    runs = {
        f"plain, seed {seed}": {"gone": 0, "train_error": error, "test_error": 2 * error}
        for seed, error in enumerate((1.0, 3.0))
    }
    runs["ResNet, seed 0"] = {"gone": None, "train_error": 1.0, "test_error": 2.0}
    assert train_table(runs, ["plain", "ResNet", "as it stands"], 10)[2:] == [
        "| plain |  | 2.00 % ± 1.41 | 4.00 % ± 2.83 | 2 |",
        "| ResNet | never | 1.00 % | 2.00 % | 1 |",
    ]


@pytest.mark.slow
def test_as_it_stands_is_what_the_package_trains():
    """Alpha by step of a dense VAN-4 on digits, by the benchmark's hand and by VariableSkip and SkipPhaseOut."""
    import keras

    from benchmarks.van_network import VanTraining, van_config
    from dirac_keras.phase_out import find_skips
    from dirac_keras.training.building import build_model, compile_model
    from dirac_keras.training.config import TrainConfig
    from dirac_keras.training.fitting import family_callbacks
    from pipelines import load_splits

    setting = Setting(rate=0.02, fraction=0.5, steps_per_epoch=11, epochs=2)
    config = van_config("digits", "dense", 4, setting, units=8, max_train=1408)
    splits = load_splits(**config.data_arguments())
    training = VanTraining(config, splits, setting, Reading())
    for _, (images, labels) in zip(range(8), splits.train(0), strict=False):
        training.step(images, labels)
    given = {"data": "digits", "family": "van", "depth": 4, "units": 8, "recipe": "van_dense", "max_train": 1408}
    own = TrainConfig(**given, epochs=2, learning_rate=0.02, momentum_rule=config.momentum_rule)
    keras.utils.set_random_seed(own.seed)
    model = build_model(own, splits.spec)
    compile_model(model, own, 11)
    callbacks = family_callbacks(own, seal=False)
    model.fit(splits.train(0), steps_per_epoch=8, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)
    for alpha, skip in zip(training.alphas, find_skips(model).values(), strict=True):
        assert 0.3 < float(keras.ops.mean(alpha)) < 0.95
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (alpha, skip.alpha)), atol=1e-5)
