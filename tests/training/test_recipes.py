"""Recipes are values, written down where a run begins: one that changes leaves the runs that have begun alone."""

import dataclasses
import json

import pytest

from dirac_keras.cli.options import read_config
from dirac_keras.errors import UserError
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.recipes import OTHER_NETWORKS, RECIPES


def test_run_keeps_what_its_recipe_was(tmp_path, monkeypatch):
    run, began = RunDirectory(tmp_path / "run"), TrainConfig(recipe="quick")
    run.create(began, {}, "float32")
    monkeypatch.setitem(RECIPES["quick"], "optimizer", "muon")
    monkeypatch.setitem(RECIPES["quick"], "learning_rate", 0.7)
    assert TrainConfig(recipe="quick").optimizer == "muon"
    assert run.read_config() == began
    run.check(run.read_config(), {}, "float32")
    message = r"learning_rate=0\.3 there, 0\.7 here; optimizer='sgd' there, 'muon' here\)\. To resume it with its own "
    with pytest.raises(UserError, match=message + r"settings, give `config=.*config\.json\"`"):
        run.check(TrainConfig(recipe="quick"), {}, "float32")


@pytest.mark.parametrize("family", ["diracnet", "plainnet", "van", "vgg", "wide_resnet"])
def test_muon_is_all_that_quick_muon_has_otherwise(family):
    depth = {"vgg": 11}.get(family, 28)
    quick, muon = (TrainConfig(recipe=name, family=family, depth=depth).to_dict() for name in ("quick", "quick_muon"))
    different = {name: muon[name] for name in quick if quick[name] != muon[name]}
    assert different == {"recipe": "quick_muon", "optimizer": "muon", "muon_learning_rate": 0.1}


def test_record_of_a_run_is_a_configuration_although_fields_came_later(tmp_path):
    """It has values of no effect, such as `decay_epochs`, which a user may not give."""
    run, began = RunDirectory(tmp_path / "run"), TrainConfig(recipe="quick")
    run.create(began, {}, "float32")
    record = json.loads(run.config.read_text())
    assert record.pop("start", "absent") is None
    (tmp_path / "old.json").write_text(json.dumps(record))
    assert read_config(tmp_path / "old.json", {"batch_size": None}) == began


def test_recipes_leave_no_field_open_and_name_none_that_there_is_not():
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    for name, values in RECIPES.items():
        assert set(RECIPES["quick"]) <= set(values) <= known, name
        assert set(OTHER_NETWORKS[name]) <= known, name
