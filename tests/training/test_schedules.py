import numpy as np
import pytest
from keras import ops

from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fields.optimization import SCHEDULES
from dirac_keras.training.optimization.schedules import EveryFew, OneCycle, build_schedule, say_late_decays


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


def test_one_cycle_by_hand():
    schedule = OneCycle(peak=1.0, total_steps=8, warmup_fraction=0.25)
    # middles of the steps: 1/16, 3/16, ...; rising over 4/16, falling over 12/16
    expected = [1 / 4, 3 / 4, 11 / 12, 9 / 12, 7 / 12, 5 / 12, 3 / 12, 1 / 12, 0.0]
    np.testing.assert_allclose([rate(schedule, k) for k in range(9)], expected, rtol=1e-5, atol=1e-7)


def test_step_schedule_of_the_papers_cifar_recipe():
    schedule = build_schedule(TrainConfig(recipe="cifar"), steps_per_epoch=10)
    found = [rate(schedule, epoch * 10) for epoch in (0, 59, 60, 120, 160, 199)]
    np.testing.assert_allclose(found, [0.1, 0.1, 0.02, 0.004, 0.0008, 0.0008], rtol=1e-5)


def test_steps_of_a_recipe_that_has_none_are_tenths():
    """`quick` has another schedule, and no factor of its own; a factor of 1 would leave the rate as it is."""
    config = TrainConfig(recipe="quick", schedule="step", decay_epochs=(5, 8), epochs=10)
    schedule = build_schedule(config, steps_per_epoch=10)
    assert [rate(schedule, step) for step in (0, 50, 80)] == pytest.approx([0.3, 0.03, 0.003], rel=1e-6)
    with pytest.raises(ValueError, match=r"schedule=step with decay_factor=1 is schedule=constant.* such as 0\.1"):
        TrainConfig(schedule="step", decay_epochs=(5, 8), decay_factor=1)
    assert TrainConfig(recipe="cifar").decay_factor == 0.2


def test_rate_falls_at_the_first_step_of_the_decay_epoch():
    schedule = build_schedule(TrainConfig(recipe="cifar"), steps_per_epoch=10)
    np.testing.assert_allclose([rate(schedule, 599), rate(schedule, 600)], [0.1, 0.02], rtol=1e-5)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_survives_its_config(schedule, every):
    config = TrainConfig(recipe="cifar", schedule=schedule, accumulate_steps=every)
    built = build_schedule(config, 7)
    again = type(built).from_config(built.get_config())
    for step in (0, 6, 420, 1000):
        assert rate(again, step) == rate(built, step)


def test_constant_schedule_is_constant():
    schedule = build_schedule(TrainConfig(schedule="constant", learning_rate=0.3), 5)
    np.testing.assert_allclose([rate(schedule, k) for k in (0, 74, 75, 1000)], 0.3, rtol=1e-6)


def test_one_cycle_between_fractions_by_hand():
    """Steps' middles at 1/16, 3/16, ...; from 0.2 to 1 by a quarter, then to 0.1 at the end."""
    schedule = OneCycle(peak=2.0, total_steps=8, warmup_fraction=0.25, start_fraction=0.2, end_fraction=0.1)
    shares = [0.2 + 0.8 / 4, 0.2 + 0.8 * 3 / 4, 0.1 + 0.9 * 11 / 12, 0.1 + 0.9 * 9 / 12, 0.1 + 0.9 * 1 / 12]
    found = [rate(schedule, k) for k in (0, 1, 2, 3, 7)]
    np.testing.assert_allclose(found, 2 * np.array(shares), rtol=1e-5)


def test_one_cycle_without_warmup_falls_from_the_first_step():
    schedule = OneCycle(peak=1.0, total_steps=4, warmup_fraction=0.0)
    np.testing.assert_allclose([rate(schedule, k) for k in range(5)], [7 / 8, 5 / 8, 3 / 8, 1 / 8, 0], atol=1e-6)


def test_cosine_by_hand():
    """8 steps with a quarter of warm-up, read at their middles: 0.5 and 1.5 of 2, then 0.5, ... of 6 along a cosine."""
    fields = {"schedule": "cosine", "learning_rate": 2.0, "epochs": 2, "warmup_fraction": 0.25, "end_fraction": 0.1}
    schedule = build_schedule(TrainConfig(**fields, start_fraction=0.2), 4)
    fall = [0.1 + 0.9 * (1 + np.cos(np.pi * k / 6)) / 2 for k in (0.5, 1.5, 5.5)]
    expected = [0.2 + 0.8 / 4, 0.2 + 0.8 * 3 / 4, *fall, 0.1]
    np.testing.assert_allclose([rate(schedule, k) for k in (0, 1, 2, 3, 7, 100)], 2 * np.array(expected), rtol=1e-5)


def test_cosine_without_warmup_falls_from_the_first_step():
    schedule = build_schedule(TrainConfig(schedule="cosine", learning_rate=1.0, epochs=1, warmup_fraction=0.0), 2)
    expected = [(1 + np.cos(np.pi / 4)) / 2, (1 + np.cos(3 * np.pi / 4)) / 2]
    np.testing.assert_allclose([rate(schedule, k) for k in (0, 1)], expected, rtol=1e-5)


def test_exponential_by_hand():
    schedule = build_schedule(TrainConfig(schedule="exponential", learning_rate=1.0, decay_factor=0.25), 2)
    np.testing.assert_allclose([rate(schedule, k) for k in range(5)], [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16], rtol=1e-5)


def test_exponential_ends_at_a_hundredth_unless_asked():
    schedule = build_schedule(TrainConfig(schedule="exponential", learning_rate=1.0, epochs=5), 3)
    np.testing.assert_allclose(rate(schedule, 15), 0.01, rtol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_of_accumulated_steps_is_that_of_larger_batches(schedule):
    """Of 3 batches an update, each of them has the update's rate."""
    fields = {"recipe": "cifar", "schedule": schedule}
    few = build_schedule(TrainConfig(**fields), 4)
    many = build_schedule(TrainConfig(**fields, accumulate_steps=3), 12)
    assert isinstance(many, EveryFew)
    for update in (0, 1, 239, 240, 500, 799):
        for batch in range(3):
            np.testing.assert_allclose(rate(many, 3 * update + batch), rate(few, update), rtol=1e-6)


def test_decays_behind_the_end_are_said(caplog):
    def said(**options):
        caplog.clear()
        say_late_decays(TrainConfig(recipe="cifar", **options))  # 60, 120, 160 of 200 epochs
        return caplog.text

    assert said() == "" and said(epochs=30, schedule="cosine") == ""
    assert "does not fall as often: the training ends at epoch 160, before those of `decay_epochs` 160" in said(
        epochs=160
    )
    assert "never falls: the training ends at epoch 15, before those of `decay_epochs` 60, 120, 160" in said(epochs=15)
