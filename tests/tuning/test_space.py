"""What a search may try: texts to dimensions, dimensions to configs."""

import types

import pytest

pytest.importorskip("keras_tuner")

from dirac_keras.models import FAMILIES
from dirac_keras.training.config import TrainConfig
from tuning.dimensions import Dimension
from tuning.faults import _why_not_built
from tuning.oracles import combinations
from tuning.space import SearchSpace, has_effect, without_prefixes

SMALL = {"data": "digits", "depth": "10-16", "width": "0.25-0.5", "learning_rate": "0.1", "weight_decay": "0"}


@pytest.mark.parametrize(
    ("name", "text", "listed"),
    [
        ("depth", "10-13", (10, 11, 12, 13)),
        ("depth", "10:22:6", (10, 16, 22)),
        ("width", "0.5-1.25", (0.5, 0.75, 1.0, 1.25)),
        ("width", "0.5-1:0.5", (0.5, 1.0)),
        ("parameterization", "dirac, plain", ("dirac", "plain")),
        ("batch_size", "60-300", (64, 128, 256)),
        ("learning_rate", "1e-2,0.1", (0.01, 0.1)),
        ("label_smoothing", "0-0.1", (0.0, 0.05, 0.1)),
        ("nesterov", "true,false", (True, False)),
    ],
)
def test_text_becomes_values(name, text, listed):
    dimension = Dimension.parse(name, text)
    assert dimension.listed() == listed
    assert Dimension.parse(name, dimension.to_text()).listed() == listed


def test_rates_are_drawn_by_their_ratio():
    dimension = Dimension.parse("learning_rate", "1e-3-1e-1")
    assert (dimension.low, dimension.high, dimension.is_logarithmic) == (1e-3, 1e-1, True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("depth", "a", "whole numbers.*Received 'a'"),
        ("depth", "16-10", "the smaller number first.*'16-10'"),
        ("width", "0.5-1:0", "step must be above 0"),
        ("weight_decay", "0-1e-3", "begins above 0.*a list"),
        ("epochs", "1-3", "'epochs' is nothing that can be searched"),
        ("dept", "1-3", "'dept' is nothing that can be searched.*depth"),
    ],
)
def test_wrong_text_is_named(name, text, message):
    with pytest.raises(ValueError, match=message):
        Dimension.parse(name, text)


def test_only_depths_of_the_family_are_tried():
    space = SearchSpace({"data": "cifar10", "depth": "10-40"})
    depths = next(d for d in space.dimensions["diracnet"] if d.name == "depth")
    assert depths.listed() == (10, 16, 22, 28, 34, 40)


def has_depth(config):
    return FAMILIES[config.family].layout(config.layout).has_depth(config.depth)


@pytest.mark.parametrize(("depths", "near"), [("11-15", "10 and 16"), ("1-9", "10")])
def test_range_without_a_depth_names_the_nearest(depths, near):
    with pytest.raises(ValueError, match=f"no depth of family=diracnet.*the nearest are {near}\\."):
        SearchSpace({"depth": depths})


def test_space_without_choice_is_refused():
    with pytest.raises(ValueError, match=r"space is empty.*`depth=10-40`"):
        SearchSpace({"depth": "10", "width": "1", "learning_rate": "0.1", "weight_decay": "1e-4"})


@pytest.mark.parametrize(
    ("given", "search", "message"),
    [
        ({"family": "alexnet"}, None, "family must be one of diracnet"),
        ({"recipe": "slow"}, None, "recipe must be one of"),
        ({"label_smoothing": "0,2"}, None, "label_smoothing must be in"),
        ({"sigma": "0.1,0.2"}, None, "sigma is a field of family=resnet"),
        ({}, ["momentum"], "momentum has no default range here. Give `momentum`"),
        ({}, ["colour"], "'colour' is nothing that can be searched"),
        ({"family": "van", "width": "0.5,1"}, None, "width has no effect on van in this layout"),
        ({"dept": 10}, None, "Unknown field 'dept' in the search space. Did you mean 'depth'"),
    ],
)
def test_wrong_space_is_refused_before_the_first_trial(given, search, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(given, search)


def test_values_become_a_config():
    space = SearchSpace({"data": "cifar10", "depth": "10-40", "max_train": 100, "nesterov": False})
    config = space.config({"depth": 16, "width": 1.5, "learning_rate": 0.123456789, "weight_decay": 1e-4}, 9, seed=3)
    assert config == TrainConfig(
        data="cifar10", depth=16, width=1.5, learning_rate=0.123457, weight_decay=1e-4, max_train=100, nesterov=False,
        epochs=9, seed=3,
    )  # fmt: skip


def test_steps_of_the_rate_are_shares_of_the_epochs():
    space = SearchSpace({**SMALL, "schedule": "one_cycle,step"})
    values = {"depth": 10, "width": 0.5, "schedule": "step", "decay_factor": 0.2}
    config = space.config(values, epochs=200)
    assert (config.decay_epochs, config.decay_factor) == ((60, 120, 160), 0.2)
    assert not space.config({**values, "schedule": "one_cycle"}, epochs=200).decay_epochs
    names = {tuple(sorted(combination)) for combination in combinations(space.hyperparameters())}
    assert names == {("depth", "schedule", "width"), ("decay_factor", "depth", "schedule", "width")}


def test_phase_out_ends_at_a_share_of_the_epochs():
    space = SearchSpace({"family": "van", "recipe": "van_dense"})
    values = {"depth": 10, "units": 25, "phase_out_share": 0.5, "learning_rate": 0.01}
    assert [space.config(values, epochs).phase_out_end for epochs in (1, 9)] == [0.5, 4.5]


def test_end_of_the_phase_out_that_is_given_is_not_searched():
    space = SearchSpace({"family": "van", "recipe": "van_dense", "phase_out_end": 2})
    assert "phase_out_share" not in {dimension.name for dimension in space.dimensions["van"]}
    assert space.config({"depth": 10, "units": 25, "learning_rate": 0.01}, epochs=9).phase_out_end == 2


@pytest.mark.parametrize("name", ["epochs", "seed"])
def test_argument_of_the_search_is_no_field_of_its_space(name):
    with pytest.raises(ValueError, match=f"{name} is an argument of the search"):
        SearchSpace({"depth": "10-40", name: 5})


def test_points_are_counted_as_a_grid_tries_them():
    space = SearchSpace({"depth": "10-22", "width": "0.5,1", "learning_rate": "0.1-0.4", "weight_decay": "0"})
    assert space.num_points("diracnet") == 3 * 2 * 10


@pytest.mark.parametrize(
    ("text", "count"), [("1-10000", 10_000), ("0-9999", 10_000), ("5-50000:5", 10_000), ("1-10001", None)]
)
def test_range_has_at_most_ten_thousand_values(text, count):
    if count is None:
        with pytest.raises(ValueError, match="units has 10,001 values; at most 10,000"):
            Dimension.parse("units", text)
    else:
        assert len(Dimension.parse("units", text).listed()) == count


@pytest.mark.slow
def test_each_family_has_its_own_dimensions():
    space = SearchSpace({"data": "digits", "family": "diracnet,van", "parameterization": "dirac,plain", "width": "0.5"})
    for values in combinations(space.hyperparameters()):
        config = space.config(values, epochs=8)
        values = without_prefixes(values)
        assert has_depth(config)
        assert ("parameterization" in values) == (config.family == "diracnet")
        assert ("phase_out_share" in values) == (config.family == "van")


@pytest.mark.parametrize(
    ("family", "layout"), [(name, layout) for name, family in FAMILIES.items() for layout in family.layouts]
)
def test_every_family_has_default_ranges(family, layout):
    space = SearchSpace({"family": family, "layout": layout})
    for values in list(combinations(space.hyperparameters()))[::97]:
        assert has_depth(space.config(values, epochs=8))


def test_record_gives_the_space_again():
    space = SearchSpace({**SMALL, "family": "diracnet,wide_resnet", "batch_size": "32,64", "nesterov": True})
    again = SearchSpace.from_dict(space.to_dict())
    assert again.to_dict() == space.to_dict()
    assert again.hyperparameters().get_config() == space.hyperparameters().get_config()


def test_of_a_network_in_a_file_the_training_alone_is_searched():
    space = SearchSpace({"family": "file", "start": "mine.keras", "data": "digits"})
    assert [dimension.name for dimension in space.shared] == ["learning_rate", "weight_decay"]
    assert space.dimensions == {"file": ()}


def test_a_file_that_no_trial_can_take_is_no_fault_of_one(tmp_path):
    config = TrainConfig(family="file", start=str(tmp_path / "absent.keras"))
    spec = types.SimpleNamespace(name="somewhere", image_shape=(8, 8, 1), num_classes=2, task="classes")
    assert _why_not_built(config, spec, None) is None
    assert "cannot be built" in _why_not_built(TrainConfig(depth=10, start=None), spec, 1e-9)


def test_fields_without_an_effect_on_a_family_are_told_apart():
    assert has_effect("depth", "diracnet") and has_effect("learning_rate", "file")
    assert not has_effect("scenario", "file")
