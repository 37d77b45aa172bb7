"""The recipe `fast`: its network starts from the images, and a run of it resumes exactly."""

import keras
import numpy as np
import pytest

from dirac_keras import assert_plain, fold
from dirac_keras.layers.whitening import whitening_kernel
from dirac_keras.training import train
from dirac_keras.training.building import compile_model, start_from_data, untrained_model
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits
from tests.run_checks import KillAfter, Killed

FIELDS = {"data": "digits", "recipe": "fast", "depth": 5, "width": 0.1, "epochs": 2, "batch_size": 64}
FIELDS |= {"max_train": 512, "max_test": 100, "precision": "float32", "lookahead_steps": 5}


def run(workdir, callbacks=(), **fields):
    config = TrainConfig(**{**FIELDS, **fields})
    return train(config, load_splits(**config.data_arguments()), workdir, callbacks=callbacks)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("fast") / "whole", test_time_augmentation="flip_shift")


def test_first_convolution_is_that_of_the_training_images(whole):
    config = whole.run.read_config()
    images = np.concatenate([np.asarray(x) for x, _ in load_splits(**config.data_arguments()).train_in_order(5000)])
    assert len(images) == 512
    kernel = keras.ops.convert_to_numpy(whole.model.get_layer("whiten").kernel)
    np.testing.assert_allclose(kernel, whitening_kernel(images), rtol=1e-6)


@pytest.mark.slow
def test_resumed_run_has_the_weights_of_the_uninterrupted_one(whole, tmp_path):
    """Killed in the second epoch, between two steps that average: the averages must come back too."""
    options = {"test_time_augmentation": "flip_shift", "checkpoint_steps": 4}
    with pytest.raises(Killed):
        run(tmp_path / "run", [KillAfter(14)], **options)
    resumed = run(tmp_path / "run", **options)
    for mine, theirs in zip(resumed.model.variables, whole.model.variables, strict=True):
        mine, theirs = (keras.ops.convert_to_numpy(variable) for variable in (mine, theirs))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)  # JAX sums in another order when compiled anew
    assert [row["loss"] for row in resumed.history] == pytest.approx([row["loss"] for row in whole.history], rel=1e-5)


def test_summary_has_the_accuracy_over_views(whole):
    assert whole.summary["test_time_augmentation"] == "flip_shift"
    assert 0 <= whole.summary["test_accuracy_of_views"] <= 1


def test_it_folds_to_a_plain_chain(whole):
    folded, report = fold(whole.model)
    assert_plain(folded)
    assert not report.kept and report.max_relative_difference < 1e-5  # five float32 layers round to 1e-6
    assert not any("normalization" in type(layer).__name__.lower() for layer in folded.layers)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_it_learns(optimizer):
    """The smoothed loss on one batch, from ln 10 = 2.3, of which smoothing alone leaves 0.9."""
    config = TrainConfig(**{**FIELDS, "optimizer": optimizer, "epochs": 1})
    splits = load_splits(**config.data_arguments())
    model = untrained_model(config, splits.spec, "float32")
    start_from_data(model, splits)
    compile_model(model, config, splits.steps_per_epoch)
    (images, labels), *_ = [(np.asarray(x), np.asarray(y)) for x, y in splits.test()]
    first, *_, last = [float(model.train_on_batch(images, labels)[0]) for _ in range(12)]
    assert last < first - 0.1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("fastnet", 8, 1.0, "plain", "gelu")),
        ({"family": "fastnet"}, ("fastnet", 8, 1.0, "plain", "gelu")),
        ({"family": "diracnet"}, ("diracnet", 28, 1.0, "dirac", None)),
        ({"family": "vgg", "depth": 11, "width": 0.5}, ("vgg", 11, 0.5, "dirac", None)),
        ({"depth": 11, "activation": "relu"}, ("fastnet", 11, 1.0, "plain", "relu")),
        ({"recipe": "quick"}, ("diracnet", 28, 1.0, "dirac", None)),
        ({"recipe": "quick", "family": "fastnet"}, ("fastnet", 8, 1.0, "plain", "gelu")),
        ({"recipe": "quick", "depth": 10}, ("diracnet", 10, 1.0, "dirac", None)),
    ],
    ids=str,
)
def test_recipe_chooses_the_network_where_the_user_names_none(fields, expected):
    config = TrainConfig(**{"recipe": "fast", **fields})
    assert (config.family, config.depth, config.width, config.parameterization, config.activation) == expected


def test_rates_of_the_recipe_are_for_its_own_network():
    """Divided logits make its gradients small; other networks would diverge with them."""
    own, other = TrainConfig(recipe="fast"), TrainConfig(recipe="fast", family="diracnet")
    assert (own.learning_rate, own.beta_rate, own.muon_learning_rate) == (0.85, 64.0, 0.24)
    assert (other.learning_rate, other.beta_rate, other.muon_learning_rate) == (0.1, 1.0, 0.1)
    assert (other.optimizer, other.batch_size, other.augmentation) == ("muon", 1024, "alternating")
    assert TrainConfig(recipe="fast", family="diracnet", learning_rate=0.3).learning_rate == 0.3


def test_average_beside_an_identity_that_goes_is_refused():
    with pytest.raises(ValueError, match=r"lookahead_steps must be 0 beside identity_bound: .*lookahead_steps=5"):
        TrainConfig(family="diracnet", identity_bound=1.0, lookahead_steps=5)
    TrainConfig(family="diracnet", identity_bound=1.0, lookahead_steps=0)
