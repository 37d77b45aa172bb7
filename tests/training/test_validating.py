"""Every how many epochs a training is validated: what is seen of it changes, not what is trained."""

import keras
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.tables import read_table, write_table
from dirac_keras.training import TrainConfig, train_seeds
from dirac_keras.training.fitting import validated_epochs
from pipelines import load_splits
from tests.run_checks import CONFIG, STEPS, TIMED, KillAfter, Killed, assert_equal_weights, run, train_fields

FIVE = {"epochs": 5, "validation_freq": 2}  # 2, 4, and the last
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="chunks of steps are JAX's")


def validated(result):
    return [row["epoch"] for row in read_table(result.run.metrics) if "val_accuracy" in row and "val_loss" in row]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    return run(tmp_path_factory.mktemp("sparse") / "run", **FIVE)


@pytest.mark.parametrize(
    ("epochs", "frequency", "expected"),
    [(5, 1, [1, 2, 3, 4, 5]), (5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 3, [3]), (3, 9, [3]), (1, 1, [1])],
)
def test_every_so_many_epochs_and_the_last(epochs, frequency, expected):
    assert validated_epochs(TrainConfig(epochs=epochs, validation_freq=frequency)) == expected


@pytest.mark.slow
def test_weights_and_figures_are_those_of_a_validation_after_each_epoch(sparse, tmp_path):
    dense = run(tmp_path / "run", epochs=5)
    assert (validated(sparse), validated(dense)) == ([2, 4, 5], [1, 2, 3, 4, 5])
    assert_equal_weights(sparse.model, dense.model)
    for mine, theirs in zip(sparse.history, dense.history, strict=True):
        assert all(mine[name] == theirs[name] for name in mine.keys() - TIMED)
    assert sparse.summary["test_accuracy"] == dense.summary["test_accuracy"]
    assert (sparse.run.path / "curves.png").exists()


@pytest.mark.slow
def test_resumed_run_has_the_same_table(sparse, tmp_path):
    """Killed in the step after the third epoch, which had no validation."""
    with pytest.raises(Killed):
        run(tmp_path / "run", **FIVE, callbacks=[KillAfter(step=3 * STEPS + 1)])
    resumed = run(tmp_path / "run", **FIVE)
    assert validated(resumed) == [2, 4, 5]
    assert_equal_weights(resumed.model, sparse.model)


@on_jax
def test_chunks_and_seeds_as_one_program_do_the_same(sparse, tmp_path):
    chunks = train_fields({**CONFIG, **FIVE}, tmp_path / "chunks", steps_per_execution=5)
    assert validated(chunks) == [2, 4, 5]
    config = TrainConfig(**CONFIG | FIVE)
    (alone,) = train_seeds(config, [load_splits(**config.data_arguments())], [tmp_path / "seed"], [config.seed])
    assert validated(alone) == [2, 4, 5]


@pytest.mark.parametrize("option", [{"early_stopping": 2}, {"keep_best": True}])
def test_an_epoch_that_is_not_validated_cannot_be_judged(option):
    with pytest.raises(UserError, match=r"validation_freq exclude each other: .*validation_freq=2"):
        TrainConfig(**option, validation=0.1, validation_freq=2)


def test_what_a_table_leaves_empty_is_absent_again(tmp_path):
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_loss": 3.0}]
    write_table(tmp_path / "a.csv", rows)
    assert (tmp_path / "a.csv").read_text() == "epoch,loss,val_loss\n1,2.0,\n2,1.0,3.0\n"
    assert read_table(tmp_path / "a.csv") == rows
