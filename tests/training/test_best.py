"""Early stopping and the best weights: by hand, in runs, resumed anywhere, and never by the test set."""

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import load_model
from dirac_keras.training import TrainConfig, train_seeds
from dirac_keras.training.best import Judge, best_path
from tests.marks import slow_but
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run, train_fields

# From the third epoch on the rate is so high that the loss rises. 6 steps an epoch.
EARLY = {"depth": 1, "validation": 128, "epochs": 8, "learning_rate": 0.05, "max_test": 50}
EARLY |= {"schedule": "step", "decay_epochs": (3,), "decay_factor": 100, "early_stopping": 2, "monitor": "loss"}


def rows_of(*figures, name="val_accuracy"):
    return [{"epoch": epoch, name: figure} for epoch, figure in enumerate(figures, 1)]


@pytest.mark.parametrize(
    ("figures", "best", "ended"),
    [
        ((0.5,), 1, False),
        ((0.5, 0.6, 0.55), 2, False),
        ((0.5, 0.6, 0.55, 0.6), 2, True),  # as good is not better
        ((0.5, 0.6, 0.5, 0.7), 4, False),
        ((0.5, float("nan"), 0.4), 1, True),
    ],
)
def test_judge_by_hand(figures, best, ended):
    judge, rows = Judge("val_accuracy", patience=2), rows_of(*figures)
    assert judge.best(rows)["epoch"] == best
    assert judge.has_ended(rows) == ended


def test_lower_losses_are_better():
    judge, rows = Judge("val_loss", patience=1), rows_of(0.5, 0.4, name="val_loss")
    assert judge.best(rows)["epoch"] == 2 and not judge.has_ended(rows)
    assert judge.is_better(0.3, rows) and not judge.is_better(0.4, rows) and not judge.is_better(float("nan"), rows)


def test_patience_counts_from_the_epoch_in_which_layers_are_unfrozen():
    judge = Judge("val_accuracy", patience=2, first_epoch=3)
    ended = [judge.has_ended(rows_of(*[0.9, 0.5, 0.5, 0.5, 0.5][:count])) for count in range(6)]
    assert ended == [False, False, False, False, False, True]


class Recorded(keras.callbacks.Callback):
    """Keeps the weights at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append([keras.ops.convert_to_numpy(variable) for variable in self.model.weights])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    recorded = Recorded()
    return run(tmp_path_factory.mktemp("stopped") / "run", **EARLY, callbacks=[recorded]), recorded.weights


def test_run_ends_early_with_the_weights_of_its_best_epoch(stopped):
    result, weights = stopped
    losses = [row["val_loss"] for row in result.history]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 2 < EARLY["epochs"] and best > 1
    for found, expected in zip(result.model.get_weights(), weights[best - 1], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert any(np.any(a != b) for a, b in zip(weights[best - 1], weights[-1], strict=True))
    summary = result.summary
    assert (summary["best_epoch"], summary["epochs"], summary["monitor"]) == (best, best + 2, "val_loss")
    assert summary["best_figure"] == min(losses)
    assert summary["weights"].startswith(f"epoch {best} of {best + 2}, the best by val_loss")


def test_saved_model_is_that_epoch(stopped):
    result, _ = stopped
    saved, _ = load_model(result.run.model)
    for one, other in zip(saved.get_weights(), result.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in result.run.checkpoints.glob("best-*")] == [
        best_path(result.run.checkpoints, result.summary["best_epoch"]).name
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "at",
    slow_but([{"step": 9}, {"validation_of_epoch": 2}, {"step": 21}], {"validation_of_epoch": 2}),  # the best one's
    ids=str,
)
def test_run_that_was_killed_ends_as_the_uninterrupted_one(stopped, at, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", **EARLY, callbacks=[KillAfter(**at)], checkpoint_steps=4)
    resumed = run(tmp_path / "run", **EARLY, checkpoint_steps=4)
    assert_same_run(resumed, stopped[0])
    assert resumed.summary["best_epoch"] == stopped[0].summary["best_epoch"]


@pytest.mark.slow
def test_run_that_was_killed_behind_its_last_epoch_does_not_train_on(stopped, tmp_path, monkeypatch):
    from dirac_keras.training import run as module

    def killed(*_):
        raise Killed

    monkeypatch.setattr(module, "take_best", killed)
    with pytest.raises(Killed):
        run(tmp_path / "run", **EARLY)
    monkeypatch.undo()
    assert_same_run(run(tmp_path / "run", **EARLY), stopped[0])


@pytest.mark.slow
def test_best_weights_that_are_gone_are_named(tmp_path, monkeypatch):
    from dirac_keras.training import run as module

    fields = EARLY | {"epochs": 1}
    take_best = module.take_best

    def without_file(job, *rest):
        best_path(job.run.checkpoints, 1).unlink()
        return take_best(job, *rest)

    monkeypatch.setattr(module, "take_best", without_file)
    with pytest.raises(UserError, match=r"The weights of epoch 1, the best one, cannot be read: .*overwrite=True"):
        run(tmp_path / "run", **fields)


@pytest.mark.slow
def test_last_weights_are_kept_where_asked(stopped, tmp_path):
    result = run(tmp_path / "run", **EARLY, keep_best=False)
    for found, expected in zip(result.model.get_weights(), stopped[1][-1], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert result.summary["epochs"] == len(stopped[1]) and "best_epoch" not in result.summary


@pytest.mark.slow
def test_kept_averages_are_those_that_were_validated(tmp_path):
    fields = EARLY | {"epochs": 3, "early_stopping": None, "keep_best": True, "ema_momentum": 0.9}
    result = run(tmp_path / "run", **fields)
    found = result.model.evaluate(_validation(fields), verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], result.summary["best_figure"], rtol=1e-6)


def _validation(fields):
    from pipelines import load_splits

    return load_splits(**TrainConfig(**{**CONFIG, **fields}).data_arguments()).validation()


@pytest.mark.parametrize("option", [{"early_stopping": 3}, {"keep_best": True}])
def test_choice_by_the_test_set_is_refused_and_leaves_nothing(option, tmp_path):
    with pytest.raises(UserError, match=r"needs validation data: .* give `validation=0.1`"):
        run(tmp_path / "run", **option)
    assert not (tmp_path / "run").exists()


def test_figure_that_there_is_not_is_refused_and_leaves_no_run(tmp_path):
    with pytest.raises(
        UserError, match=r"monitor must be .*accuracy, loss. Received monitor='acuracy'. Did you mean acc"
    ):
        run(tmp_path / "run", **EARLY | {"monitor": "acuracy"})
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("fields", [{"identity_bound": 0.0}, {"family": "van", "depth": 10}, {"dissolve_epoch": 1}])
def test_networks_that_become_others_have_no_best_epoch(fields):
    with pytest.raises(UserError, match=r"early_stopping and .* exclude each other"):
        TrainConfig(**fields, early_stopping=2)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="one program for several seeds is JAX's")
def test_several_seeds_have_no_best_epoch_together(tmp_path):
    with pytest.raises(UserError, match="a best epoch of its own"):
        train_seeds(TrainConfig(**CONFIG, early_stopping=2), [None], [tmp_path / "a"], [1])


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX trains steps together")
def test_steps_that_are_compiled_together_stop_in_the_same_epoch(stopped, tmp_path):
    result = train_fields({**CONFIG, **EARLY}, tmp_path / "run", steps_per_execution=4, data_on_device="yes")
    assert result.summary["best_epoch"] == stopped[0].summary["best_epoch"]
    assert len(result.history) == len(stopped[0].history)
    # Another program of the same steps: float32 sums in another order.
    np.testing.assert_allclose(result.summary["best_figure"], stopped[0].summary["best_figure"], rtol=1e-3)
