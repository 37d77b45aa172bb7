"""Options of a training that exclude each other, what an optimizer and a schedule have of their own, old records."""

import json
import types

import keras
import pytest

from dirac_keras.cli.options import read_config
from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.accumulation import check_accumulation
from dirac_keras.training.recipes import OTHER_OPTIMIZERS, RECIPES
from tests.run_checks import CONFIG

# Fields that came with early stopping: a record of before has none of them.
NEW = ("loss", "focal_gamma", "class_weights", "early_stopping", "keep_best", "monitor", "betas", "clip_norm")
NEW += ("accumulate_steps", "validation_freq")


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_optimizer_has_a_rate_and_a_decay_of_its_own_unless_given(optimizer):
    own = OTHER_OPTIMIZERS[optimizer]
    for recipe in ("quick", "cifar", "fast"):
        config = TrainConfig(recipe=recipe, optimizer=optimizer)
        assert (config.learning_rate, config.weight_decay) == (own["learning_rate"], own["weight_decay"])
        assert config.beta_rate == 1
    given = TrainConfig(optimizer=optimizer, learning_rate=0.02, weight_decay=0.0)
    assert (given.learning_rate, given.weight_decay) == (0.02, 0.0)


def test_sgd_and_muon_keep_the_recipes_rate():
    assert (
        TrainConfig(optimizer="muon").learning_rate == TrainConfig().learning_rate == RECIPES["quick"]["learning_rate"]
    )


def test_command_of_the_guide_is_a_config():
    """The options that the guide begins with, together."""
    flags = {"optimizer": "muon", "schedule": "cosine", "early_stopping": 5, "validation": 0.1}
    config = read_config(None, flags)
    assert (config.optimizer, config.schedule, config.keep_best) == ("muon", "cosine", True)
    assert config.warmup_fraction == 0.05


@pytest.mark.parametrize("recipe", RECIPES)
def test_record_of_before_is_the_same_config(recipe):
    config = TrainConfig(recipe=recipe)
    record = {name: value for name, value in config.to_dict().items() if name not in NEW}
    assert TrainConfig.from_mapping(json.loads(json.dumps(record))) == config


def test_config_with_all_options_survives_json():
    fields = {"optimizer": "lion", "betas": (0.8, 0.9), "class_weights": "0=2", "early_stopping": 3, "clip_norm": 1}
    config = TrainConfig(**fields, loss="focal", schedule="exponential")
    assert TrainConfig.from_mapping(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adamw", "lookahead_steps": 5}, "lookahead_steps is of optimizer=sgd or muon"),
        ({"optimizer": "lion", "beta_rate": 2.0}, "beta_rate is of optimizer=sgd or muon"),
        ({"schedule": "exponential", "decay_factor": 0.0}, "decay_factor must be above 0 with schedule=exponential"),
        ({"optimizer": "adam"}, "optimizer must be one of sgd, muon, adamw, lion. Received optimizer='adam'"),
        ({"schedule": "cosin"}, "schedule must be one of one_cycle, cosine, step, exponential, plateau, constant"),
        ({"loss": "hinge"}, "loss must be one of crossentropy, focal"),
        ({"clip_norm": 0}, "clip_norm must be above 0"),
        ({"accumulate_steps": 0}, "accumulate_steps must be above 0"),
        ({"early_stopping": 0}, "early_stopping must be above 0"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers above 0 and below 1, .* Received betas=\(0.9, 1.0\)"),
        ({"accumulate_steps": 2, "ema_momentum": 0.9}, "the average takes in the weights after every batch"),
        ({"accumulate_steps": 2, "lookahead_steps": 4}, "accumulate_steps and lookahead_steps exclude each other"),
        ({"accumulate_steps": 2, "identity_bound": 0.0}, "accumulate_steps and identity_bound exclude each other"),
        ({"accumulate_steps": 2, "family": "van", "depth": 10}, "accumulate_steps and skip_constraint exclude"),
    ],
    ids=str,
)
def test_mistake_is_named(fields, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"betas": (0.9, 0.99)},
        {"optimizer": "adamw", "momentum": 0.8},
        {"optimizer": "lion", "nesterov": True},
        {"focal_gamma": 1.0},
        {"monitor": "loss"},
        {"schedule": "exponential", "warmup_fraction": 0.1},
        {"schedule": "cosine", "decay_factor": 0.1},
    ],
    ids=str,
)
def test_option_without_effect_is_refused(fields):
    with pytest.raises(UserError, match=r"has an effect only .*leave it out"):
        read_config(None, fields)


def check(config, steps=10, replicas=1, policy="float32"):
    place = Placement("one") if replicas == 1 else types.SimpleNamespace(num_replicas=replicas)
    check_accumulation(TrainConfig(**{**CONFIG, **config}), steps, place, policy)


def test_accumulation_that_never_comes_to_an_update_is_refused():
    check({"accumulate_steps": 20})
    with pytest.raises(UserError, match="at most the batches of the training, 20"):
        check({"accumulate_steps": 21})


def test_update_ends_where_layers_are_unfrozen():
    fields = {"freeze": "a", "unfreeze_epoch": 1}
    check({**fields, "accumulate_steps": 5})
    with pytest.raises(UserError, match="must divide the batches before `unfreeze_epoch`"):
        check({**fields, "accumulate_steps": 3})


def test_accumulation_in_float16_is_refused():
    with pytest.raises(UserError, match=r'is left out.*`precision="bfloat16"` or `precision="float32"`'):
        check({"accumulate_steps": 2}, policy="mixed_float16")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX accumulates on several devices")
def test_replicas_of_tensorflow_do_not_accumulate():
    with pytest.raises(UserError, match="TensorFlow's replicas cannot accumulate"):
        check({"accumulate_steps": 2}, replicas=2)
