import dataclasses
import json

import pytest

from dirac_keras.training.config import TrainConfig
from dirac_keras.training.config_file import read_config_file
from dirac_keras.training.recipes import RECIPES


def test_cifar_recipe_is_the_papers():
    config = TrainConfig(recipe="cifar")
    assert (config.epochs, config.batch_size, config.learning_rate) == (200, 128, 0.1)
    assert (config.decay_epochs, config.decay_factor) == ((60, 120, 160), 0.2)
    assert (config.weight_decay, config.momentum, config.label_smoothing) == (5e-4, 0.9, 0.0)


def test_imagenet_recipe_is_the_papers():
    config = TrainConfig(recipe="imagenet")
    assert (config.epochs, config.batch_size, config.weight_decay) == (100, 256, 1e-4)
    assert (config.decay_epochs, config.decay_factor) == ((30, 60, 90), 0.1)


def test_wide_resnet_recipe_is_the_papers():
    config, ours = TrainConfig(recipe="wide_resnet"), TrainConfig(recipe="cifar")
    assert config.nesterov and not ours.nesterov
    assert dataclasses.replace(config, recipe="cifar", nesterov=False) == ours


def test_momentum_where_rates_fall_is_pytorchs_in_recipes_of_papers_that_used_it():
    rules = {name: TrainConfig(recipe=name).momentum_rule for name in RECIPES}
    assert {name for name, rule in rules.items() if rule == "pytorch"} == {"cifar", "imagenet", "wide_resnet", "van"}


def test_run_of_an_earlier_version_has_kerass_momentum(tmp_path):
    """Its checkpoints have velocities of that rule."""
    fields = {**TrainConfig(recipe="cifar").to_dict(), "versions": {}, "commit": None}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    assert read_config_file(path)["momentum_rule"] == "pytorch"
    del fields["momentum_rule"]
    path.write_text(json.dumps(fields))
    assert read_config_file(path)["momentum_rule"] == "keras"


def test_given_field_wins_over_the_recipe():
    assert TrainConfig(recipe="cifar", epochs=3).epochs == 3


def test_number_of_validation_images_is_whole():
    assert TrainConfig(validation=5000.0).validation == 5000
    assert TrainConfig(validation=0.1).validation == 0.1


def test_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


def test_config_survives_json(tmp_path):
    config = TrainConfig(recipe="cifar", depth=34, validation=5000)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.from_mapping(read_config_file(path)) == config


def test_config_is_read_from_toml(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('recipe = "cifar"\ndepth = 34\ndecay_epochs = [1, 2]\n')
    assert TrainConfig.from_mapping(read_config_file(path)) == TrainConfig(
        recipe="cifar", depth=34, decay_epochs=(1, 2)
    )


def test_precision_is_the_recipes_unless_given():
    assert TrainConfig().precision == "auto"
    assert TrainConfig(recipe="plainnet").precision == "float32"
    assert TrainConfig(recipe="plainnet", precision="auto").precision == "auto"


@pytest.mark.parametrize(
    ("fields", "units"),
    [
        ({"family": "plainnet"}, 300),
        ({"family": "diracnet", "layout": "dense"}, 50),
        ({"family": "resnet", "layout": "dense"}, 50),
        ({"family": "highway"}, 50),
        ({"family": "van"}, 50),
        ({"family": "van", "units": 7}, 7),
    ],
)
def test_units_are_the_builders_unless_given(fields, units):
    assert TrainConfig(**fields).units == units


@pytest.mark.parametrize("family", ["diracnet", "plainnet", "resnet", "wide_resnet", "vgg"])
def test_record_of_a_run_from_before_the_field_layout_is_the_same_run(family, tmp_path):
    """It has `kind` and `variant`, and 300 units whether they count or not."""
    stored = {name: value for name, value in TrainConfig(family=family).to_dict().items() if name != "layout"}
    stored |= {"kind": "dense", "variant": "cifar", "units": 300, "versions": {}, "commit": None}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert TrainConfig.from_mapping(read_config_file(tmp_path / "config.json")) == TrainConfig(family=family)


@pytest.mark.parametrize("name", ["kind", "variant"])
def test_removed_field_gets_a_line_with_the_new_name(name):
    for make in (lambda fields: TrainConfig(**fields), TrainConfig.from_mapping):
        with pytest.raises(ValueError, match=rf"^{name} is now layout\. Received {name}='conv': give layout='conv'\.$"):
            make({"family": "van", name: "conv"})


def test_layout_is_the_first_of_the_family_unless_given():
    assert (TrainConfig().layout, TrainConfig(family="van").layout) == ("cifar", "dense")
    with pytest.raises(ValueError, match=r"layout must be one of dense, conv for family=van\. Received layout='cifar'"):
        TrainConfig(family="van", layout="cifar")


@pytest.mark.parametrize(("layout", "fields"), [("dense", {"width": 2.0}), ("conv", {"units": 7})])
def test_size_of_another_layout_is_an_error(layout, fields):
    with pytest.raises(ValueError, match=f"has no effect on family=van with layout={layout}, whose layer sizes are"):
        TrainConfig(family="van", layout=layout, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dept": 10}, r"Unknown field 'dept' in the training configuration. Did you mean 'depth'\?"),
        (
            {"recipe": "slow"},
            r"recipe must be one of cifar, wide_resnet, .*, fast. Received recipe='slow'",
        ),
        ({"width": -2}, r"width must be above 0. Received width=-2"),
        ({"epochs": 0}, r"epochs must be above 0"),
        ({"epochs": 1.5}, r"epochs must be a whole number. Received epochs=1.5"),
        ({"weight_decay": -1e-4}, r"weight_decay must be 0 or more. Received weight_decay=-0.0001"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
        (
            {"schedule": "cosin"},
            r"schedule must be one of one_cycle, cosine, .*. Received schedule='cosin'. Did you mean cosine\?",
        ),
        ({"decay_epochs": (3, 2)}, r"decay_epochs must be above 0 and rise"),
        ({"decay_epochs": (0, 2)}, r"decay_epochs must be above 0 and rise"),
        ({"learning_rate": float("inf")}, r"learning_rate must be finite and above 0. Received learning_rate=inf"),
        ({"batch_size": "large"}, r"batch_size must be a whole number. Received batch_size='large'"),
        ({"depth": 0}, r"depth must be above 0. Received depth=0"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must be in \[0, 1\). Received warmup_fraction=1.0"),
        ({"optimizer": "adam"}, r"optimizer must be one of sgd, muon, adamw, lion. Received optimizer='adam'"),
        ({"lookahead_steps": 2.5}, r"lookahead_steps must be a whole number. Received lookahead_steps=2.5"),
        ({"test_time_augmentation": "ten"}, r"test_time_augmentation must be one of none, flip, flip_shift. Received"),
        ({"width": "wide"}, r"width must be above 0. Received width='wide'"),
        ({"data": 5}, r"data must be a text. Received data=5"),
        ({"recipe": ["quick"]}, r"recipe must be a text"),
        ({"nesterov": "yes"}, r"nesterov must be true or false. Received nesterov='yes'"),
        ({"decay_epochs": 60}, r"decay_epochs must be a list of numbers. Received decay_epochs=60"),
        ({"decay_epochs": ["a"]}, r"decay_epochs must be a list of numbers"),
        ({"max_train": "all"}, r"max_train must be a whole number. Received max_train='all'"),
        (
            {"validation": 1.5},
            r"validation must be a share below 1, or a whole number of images. Received validation=1.5",
        ),
        ({"validation": "some"}, r"validation must be 0 or more. Received validation='some'"),
        ({"weight_decay": "none"}, r"weight_decay must be 0 or more. Received weight_decay='none'"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_mapping(fields)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "", r"ends in .json or .toml"),
        ("c.json", "{", r"c.json is no valid JSON"),
        ("c.toml", "= 3", r"c.toml is no valid TOML"),
        ("c.json", "[1]", r"must hold a table of fields. Received a list"),
    ],
)
def test_bad_file_gets_a_message_that_names_it(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config_file(tmp_path / name)


def test_absent_file_gets_a_message_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"absent.toml cannot be read: No such file"):
        read_config_file(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [("van", "sigma", 0.1), ("van", "skips", False), ("resnet", "gate_bias", -1.0), ("plainnet", "width", 2.0),
     ("diracnet", "phase_out_end", 2.0), ("highway", "parameterization", "plain"), ("vgg", "units", 5)],
)  # fmt: skip
def test_field_of_another_family_is_an_error_that_names_its_families(family, name, value):
    with pytest.raises(ValueError, match=rf"{name} is a field of family=.*no effect on {family}.*{name}={value!r}"):
        TrainConfig(family=family, **{name: value})


def test_field_that_a_file_has_twice_is_refused(tmp_path):
    (tmp_path / "c.json").write_text('{"epochs": 3, "depth": 10, "epochs": 5}')
    with pytest.raises(ValueError, match=r"c\.json is no valid JSON: epochs is there twice"):
        read_config_file(tmp_path / "c.json")
