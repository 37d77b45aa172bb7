"""Several seeds as one program against a run of each (JAX)."""

import dataclasses

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.tables import read_table
from dirac_keras.training import train, train_seeds
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.together import Together
from pipelines import load_splits
from tests.run_checks import CONFIG, TIMED

SEEDS = (3, 4)
FIELDS = {**CONFIG, "augmentation": "fashion"}
# Mapped over seeds, sums are taken in another order: 16 steps with momentum let the last bits of float32 grow. Keras on
# JAX has no float64 to tell that from a mistake by; another seed's weights differ by a thousand times as much.
ROUNDING = {"rtol": 2e-4, "atol": 2e-5}
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="one program for several seeds is JAX's")


def splits_of(config, seeds=SEEDS):
    return [load_splits(**dataclasses.replace(config, seed=seed).data_arguments()) for seed in seeds]


def both(config, folder, **options):
    """The runs together, and the second of them alone."""
    splits = splits_of(config)
    together = train_seeds(config, splits, [folder / str(seed) for seed in SEEDS], SEEDS, **options)
    alone = train(
        dataclasses.replace(config, seed=SEEDS[1]), splits[1], folder / "alone", data_on_device="yes",
        steps_per_execution=5,
    )  # fmt: skip
    return together, alone


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return both(TrainConfig(**FIELDS), tmp_path_factory.mktemp("seeds"))


def assert_close(one, other):
    for mine, theirs in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, **ROUNDING)
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert mine.keys() - TIMED == theirs.keys() - TIMED
        for name in mine.keys() - TIMED:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-3)


@on_jax
def test_each_seed_ends_as_if_it_were_alone(trained):
    together, alone = trained
    assert_close(together[1], alone)
    first, second = (result.model.get_weights()[0] for result in together)
    assert np.max(np.abs(first - second)) > 0.01  # and they are two networks


@on_jax
def test_folder_of_each_seed_is_that_of_a_finished_run(trained):
    together, alone = trained
    files = {path.name for path in alone.run.path.iterdir()}
    for seed, result in zip(SEEDS, together, strict=True):
        assert {path.name for path in result.run.path.iterdir()} == files
        assert result.run.read_config().seed == seed
        assert [row["epoch"] for row in read_table(result.run.metrics)] == [1, 2]


@on_jax
def test_interrupted_seeds_resume_from_the_last_epoch_that_all_have_saved(trained, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    finish_epoch = Together._end_epoch

    def end_epoch(self, epoch):
        finish_epoch(self, epoch)
        raise Killed

    config, folders = TrainConfig(**FIELDS), [tmp_path / str(seed) for seed in SEEDS]
    monkeypatch.setattr(Together, "_end_epoch", end_epoch)
    with pytest.raises(Killed):
        train_seeds(config, splits_of(config), folders, SEEDS)
    monkeypatch.undo()
    for one, other in zip(train_seeds(config, splits_of(config), folders, SEEDS), trained[0], strict=True):
        assert_close(one, other)


@on_jax
@pytest.mark.slow
def test_skips_of_each_seed_fade_and_are_sealed(tmp_path):
    fields = {**FIELDS, "family": "van", "layout": "dense", "recipe": "van", "depth": 3}
    together, alone = both(TrainConfig(**fields), tmp_path)
    assert_close(together[1], alone)
    assert read_table(together[1].run.skips)[-1]["step"] == read_table(alone.run.skips)[-1]["step"]


@on_jax
@pytest.mark.slow
def test_averaged_weights_of_each_seed_are_its_own(tmp_path):
    together, alone = both(TrainConfig(**FIELDS, ema_momentum=0.9), tmp_path)
    assert_close(together[1], alone)


@on_jax
@pytest.mark.parametrize(
    ("seeds", "folders", "message"),
    [((1, 1), ("a", "b"), r"seeds must differ. Received seeds=\[1, 1\]"), ((1, 2), ("a",), "must be as many")],
)
def test_arguments_that_do_not_fit_are_refused(seeds, folders, message, tmp_path):
    config = TrainConfig(**FIELDS)
    with pytest.raises(UserError, match=message):
        train_seeds(config, splits_of(config, seeds), [tmp_path / name for name in folders], seeds)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_other_backends_are_refused(tmp_path):
    with pytest.raises(UserError, match="Several seeds are one program on JAX alone"):
        train_seeds(TrainConfig(**FIELDS), [], [], [])


@on_jax
@pytest.mark.slow
def test_frozen_layers_of_each_seed_are_trained_from_their_epoch_on(tmp_path, monkeypatch):
    """As if each were alone, also where the training is resumed behind the boundary."""
    config = TrainConfig(**FIELDS, freeze="dense1*", unfreeze_epoch=1, clip_norm=1.0, accumulate_steps=2)
    together, alone = both(config, tmp_path)
    assert_close(together[1], alone)

    class Killed(Exception):
        pass

    def unfrozen(self):
        raise Killed

    monkeypatch.setattr(Together, "unfrozen", unfrozen)
    folders = [tmp_path / "again" / str(seed) for seed in SEEDS]
    with pytest.raises(Killed):
        train_seeds(config, splits_of(config), folders, SEEDS)
    monkeypatch.undo()
    for one, other in zip(train_seeds(config, splits_of(config), folders, SEEDS), together, strict=True):
        assert_close(one, other)


@on_jax
@pytest.mark.parametrize("option", [{"early_stopping": 2}, {"keep_best": True}])
def test_seeds_have_no_best_epoch_together(option, tmp_path):
    with pytest.raises(UserError, match="a best epoch of its own"):
        train_seeds(TrainConfig(**FIELDS, **option), [None], [tmp_path / "a"], [1])
