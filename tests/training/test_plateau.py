"""A rate that falls where the validation stands still, as Keras' callback has it, and in resumed runs too."""

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.experiments.side_by_side import train_side_by_side
from dirac_keras.training import train_seeds
from dirac_keras.training.best import Judge
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.plateau import falls
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run
from tuning import SearchSpace

FIELDS = {"schedule": "plateau", "plateau_patience": 1, "decay_factor": 0.5, "validation": 64}


def rows_of(figures, name="val_accuracy"):
    return [{"epoch": k + 1, name: figure} for k, figure in enumerate(figures)]


@pytest.mark.parametrize(
    ("figures", "patience", "count"),
    [
        ([], 2, 0),
        ([0.1, 0.2, 0.3], 1, 0),
        ([0.3, 0.3], 1, 1),  # an equal figure is not better
        ([0.3, 0.2, 0.1], 2, 1),
        ([0.3, 0.2, 0.1, 0.25, 0.2], 2, 2),  # counted anew from the fall, with the best that there was
        ([0.3, 0.2, 0.4, 0.2], 2, 0),
        ([0.3, float("nan")], 1, 1),
    ],
)
def test_the_rate_falls_after_so_many_epochs_without_a_better_figure(figures, patience, count):
    assert falls(rows_of(figures), Judge("val_accuracy"), patience) == count


@pytest.mark.parametrize("name", ["val_accuracy", "val_loss"])
def test_it_falls_where_the_callback_of_keras_lowers_the_rate(name):
    figures = np.random.default_rng(0).integers(0, 8, 60) / 8
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1.0
    callback = keras.callbacks.ReduceLROnPlateau(
        name, factor=0.5, patience=3, min_delta=0, mode="max" if name == "val_accuracy" else "min"
    )
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, figure in enumerate(figures):
        callback.on_epoch_end(epoch, {name: figure})
        count = falls(rows_of(figures[: epoch + 1], name), Judge(name), 3)
        assert float(model.optimizer.learning_rate) == 0.5**count
    assert count > 5


@pytest.mark.slow
def test_a_resumed_run_has_the_rates_of_the_uninterrupted_one(tmp_path):
    # Four images, and a rate at which little changes: their accuracy stands still in some of the epochs.
    options = {**FIELDS, "validation": 4, "epochs": 5, "learning_rate": 1e-6, "checkpoint_steps": 3}
    whole = run(tmp_path / "whole", **options)
    counts = [falls(whole.history[:k], Judge("val_accuracy"), 1) for k in range(5)]
    assert counts[-1] > 0
    assert [row["learning_rate"] for row in whole.history] == pytest.approx([1e-6 * 0.5**count for count in counts])
    with pytest.raises(Killed):
        run(tmp_path / "killed", callbacks=[KillAfter(step=24)], **options)  # 7 steps an epoch
    assert_same_run(run(tmp_path / "killed", **options), whole)


def test_it_needs_validation_data(tmp_path):
    with pytest.raises(
        UserError, match=r"plateau needs validation data.*Received schedule='plateau' with validation=0"
    ):
        run(tmp_path / "run", **(FIELDS | {"validation": 0}))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"validation_freq": 2}, "schedule and validation_freq exclude each other"),
        ({"decay_factor": 1.0}, "decay_factor must be above 0 and below 1"),
        ({"decay_factor": 0.0}, "decay_factor must be above 0 and below 1"),
        ({"family": "diracnet", "depth": 10, "identity_bound": 1.0}, "plateau and identity_bound exclude each other"),
    ],
)
def test_what_it_cannot_stand_beside_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        TrainConfig(**(FIELDS | fields))


def test_where_trainings_have_one_rate_it_is_refused(tmp_path):
    config = TrainConfig(**{**CONFIG, **FIELDS})
    with pytest.raises(UserError, match="schedule=plateau: give another"):
        train_seeds(config, [], [], [])
    with pytest.raises(UserError, match="schedule must not be plateau"):
        train_side_by_side([config], [None], [tmp_path])
    with pytest.raises(UserError, match="schedule='cosine,plateau'"):
        SearchSpace({"data": "digits", "schedule": "cosine,plateau"})


def test_a_tenth_is_the_factor_unless_asked():
    assert TrainConfig(schedule="plateau", validation=0.1).decay_factor == 0.1
