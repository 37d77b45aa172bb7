"""What a new family costs: a builder and a record, in one file. Nothing else names it."""

import keras
import pytest

from dirac_keras import TrainConfig, assert_plain, fold
from dirac_keras.cli.options import config_options
from dirac_keras.diagnostics import measure
from dirac_keras.layers import DiracConv2D
from dirac_keras.models import FAMILIES, Family, Layout, build_vgg, register_family
from dirac_keras.training import train
from pipelines import load_splits

DATA = {"data": "digits", "max_train": 128, "max_test": 64, "batch_size": 32, "precision": "float32"}


# The whole of the family.
def build_toy(depth, width=1, num_classes=10, input_shape=(8, 8, 1)):
    inputs = x = keras.Input(input_shape)
    for layer in range(1, depth + 1):
        x = DiracConv2D(round(8 * width), 3, padding="same", name=f"conv{layer}")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


TOY = Family("toy", build_toy, {"conv": Layout(search={"depth": "1-3", "width": "0.5,1"})})


@pytest.fixture
def toy():
    register_family(TOY)
    yield TOY
    del FAMILIES["toy"]


@pytest.mark.slow
def test_it_is_trained_folded_and_diagnosed(toy, tmp_path):
    config = TrainConfig(family="toy", depth=2, width=0.5, epochs=1, **DATA)
    splits = load_splits(**config.data_arguments())
    result = train(config, splits, tmp_path / "run")
    assert [layer.name for layer in result.model.layers if isinstance(layer, DiracConv2D)] == ["conv1", "conv2"]
    assert result.run.read_config() == config
    folded, report = fold(result.model)
    assert_plain(folded)
    assert report.max_relative_difference < 1e-5  # two float32 layers round to 1e-6
    diagnosis = measure(result.model, splits.train_in_order())
    assert [layer.name for layer in diagnosis.layers][:2] == ["conv1", "conv2"]
    assert all(layer.gradients is not None and layer.scales is not None for layer in diagnosis.layers[:2])


@pytest.mark.slow
def test_it_is_searched_under_a_budget(toy, tmp_path):
    tuning = pytest.importorskip("tuning")
    space = tuning.SearchSpace({**DATA, "family": "toy", "validation": 0.2, "learning_rate": 0.1, "weight_decay": 0.0})
    assert {dimension.name: dimension.listed() for dimension in space.dimensions["toy"]} == {
        "depth": (1, 2, 3),
        "width": (0.5, 1.0),
    }
    budget = tuning.Budget(max_params=1000)  # 2 layers of 4 channels, not 3 layers of 8
    result = tuning.search(space, tmp_path, tuner="random", max_trials=2, max_epochs=1, budget=budget)
    assert [record["status"] for record in result.records] == ["COMPLETED"] * 2
    assert result.best_config.family == "toy"
    with pytest.raises(ValueError, match=r"The smallest, toy with depth=1 and width=0\.5, has"):
        tuning.search(space, tmp_path / "other", tuner="random", budget=tuning.Budget(max_params=10))


def test_its_mistakes_are_named(toy):
    with pytest.raises(ValueError, match=r"units is a field of family=.*no effect on toy"):
        TrainConfig(family="toy", units=5)
    with pytest.raises(ValueError, match="layout must be one of conv for family=toy"):
        TrainConfig(family="toy", layout="dense")


def test_two_families_of_one_name_are_refused(toy):
    with pytest.raises(ValueError, match="Received a second family name='toy'"):
        register_family(Family("toy", build_vgg, {"conv": Layout()}))
    assert FAMILIES["toy"] is TOY


def test_help_names_the_families_of_a_field():
    def command():
        pass

    options = {option.name: option.help for option in config_options()(command).__click_params__}
    assert "For resnet, wide_resnet only." in options["sigma"]
    assert "For van only." in options["phase_out_start"]
    assert "only." not in options["depth"]
