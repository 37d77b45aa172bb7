"""A training that starts from weights: which, where they come from once, and what does not fit."""

import logging
import shutil

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import save_model
from dirac_keras.folding import fold
from dirac_keras.models import build_plainnet, build_vgg
from dirac_keras.training import TrainConfig, build_model, train
from dirac_keras.training.start.beginning import begin, digest_of
from dirac_keras.training.start.weights import network_of, weights_from
from pipelines import load_splits
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run

FINE = {"epochs": 2, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run on digits: 2 dense layers of 16 units."""
    return run(tmp_path_factory.mktemp("start") / "first", epochs=1)


@pytest.fixture(scope="module")
def splits():
    return load_splits(**TrainConfig(**CONFIG).data_arguments())


def weights_by_name(model):
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


@pytest.mark.parametrize("of", ["folder", "file"])
def test_a_training_starts_from_the_weights_of_a_run(first, splits, of):
    path = first.run.path if of == "folder" else first.run.model
    config = TrainConfig(**CONFIG, start=str(path))
    model = build_model(config, splits.spec)
    begin(model, config, splits)
    for name, value in weights_by_name(first.model).items():
        np.testing.assert_array_equal(weights_by_name(model)[name], value)


@pytest.mark.slow
def test_the_argument_of_train_is_recorded_with_its_hash(first, splits, tmp_path):
    result = train(TrainConfig(**CONFIG | {"epochs": 1}), splits, tmp_path / "run", start=first.run.path)
    assert result.run.read_config().start == str(first.run.path)
    assert result.run.record().start_sha256 == digest_of(first.run.path)
    assert result.history[0]["loss"] < first.history[0]["loss"]


@pytest.mark.slow
def test_a_resumed_run_does_not_need_its_start(first, splits, tmp_path):
    start = tmp_path / "start.keras"
    shutil.copy(first.run.model, start)
    fields = FINE | {"start": str(start), "learning_rate_of": "head*=1,*=0.5"}
    whole = run(tmp_path / "whole", **fields)
    with pytest.raises(Killed):
        run(tmp_path / "killed", **fields, callbacks=[KillAfter(10)])
    start.unlink()
    assert_same_run(run(tmp_path / "killed", **fields), whole)


@pytest.mark.slow
def test_a_start_that_has_changed_is_another_run(first, tmp_path):
    start = tmp_path / "start.keras"
    shutil.copy(first.run.model, start)
    with pytest.raises(Killed):
        run(tmp_path / "run", **FINE, start=str(start), callbacks=[KillAfter(10)])
    with open(start, "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"started from another model.*has changed since"):
        run(tmp_path / "run", **FINE, start=str(start))


def test_a_start_in_the_folder_that_is_emptied_is_refused(first):
    with pytest.raises(UserError, match="start must lie outside workdir"):
        run(first.run.path, start=str(first.run.path), overwrite=True)
    assert first.run.is_finished()


class Spec:
    def __init__(self, num_classes, class_names=None):
        self.num_classes, self.class_names = num_classes, class_names


def saved(model, path, **data):
    save_model(model, path, {"data": data} if data else None)
    return path


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ten")
    model = build_plainnet(depth=2, units=5, input_shape=(4, 4, 1))
    return model, saved(model, folder / "ten.keras", class_names=list("abcdefghij"))


def found(path, model, spec):
    config = TrainConfig(family="plainnet", depth=2, units=5)
    names = [variable.path for variable in model.weights]
    return dict(zip(names, weights_from(path, model, spec, config), strict=True))


def test_another_number_of_classes_has_another_head_and_the_rest_stays(ten, caplog):
    old, path = ten
    model = build_plainnet(depth=2, units=5, input_shape=(4, 4, 1), num_classes=3)
    with caplog.at_level(logging.INFO, logger="dirac_keras"):
        values = found(path, model, Spec(3))
    assert "'head_dense' begins anew: it gives 3 classes, 10 there" in caplog.text
    mine, theirs = weights_by_name(model), weights_by_name(old)
    for name, value in values.items():
        expected = mine[name] if name.startswith("head_dense") else theirs[name]
        np.testing.assert_array_equal(value, expected)


def test_classes_of_other_names_have_another_head(ten, caplog):
    _, path = ten
    model = build_plainnet(depth=2, units=5, input_shape=(4, 4, 1))
    kernel = keras.ops.convert_to_numpy(model.get_layer("head_dense").kernel)
    with caplog.at_level(logging.INFO, logger="dirac_keras"):
        values = found(path, model, Spec(10, list("klmnopqrst")))
    assert "the classes have other names (there a, b, c and 7 more, here k, l, m and 7 more)" in caplog.text
    np.testing.assert_array_equal(values["head_dense/kernel"], kernel)


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ({}, None, "unknown there and here"),
        ({}, list("abcdefghij"), "unknown there"),
        ({"class_names": list("abcdefghij")}, None, "unknown here"),
        ({"class_names": list("abcdefghij")}, list("abcdefghij"), None),
    ],
)
def test_classes_of_unknown_names_are_kept_with_a_word(ten, tmp_path, caplog, there, here, said):
    old, _ = ten
    model = build_plainnet(depth=2, units=5, input_shape=(4, 4, 1))
    with caplog.at_level(logging.INFO, logger="dirac_keras"):
        values = found(saved(old, tmp_path / "old.keras", **there), model, Spec(10, here))
    assert (f"the names of the classes are {said}, so" in caplog.text) if said else "may be others" not in caplog.text
    np.testing.assert_array_equal(values["head_dense/kernel"], keras.ops.convert_to_numpy(old.layers[-1].kernel))


def test_an_import_of_no_family_is_told_as_one(ten, tmp_path):
    deeper = build_plainnet(depth=3, units=5, input_shape=(4, 4, 1))
    path = tmp_path / "imported.keras"
    save_model(ten[0], path, {"imported": {"file": "net.pth"}})
    with pytest.raises(UserError, match=r"is of no family: .* the network as it stands") as failed:
        found(path, deeper, Spec(10))
    assert "Give the `family`" not in str(failed.value)
    save_model(ten[0], path, {"imported": {"file": "net.pth"}, "network": {"family": "plainnet"}}, overwrite=True)
    with pytest.raises(UserError, match="Give the `family`"):
        found(path, deeper, Spec(10))


def test_a_model_without_classes_gives_the_rest(tmp_path):
    start = build_vgg(11, 0.05, input_shape=(16, 16, 3), include_top=False)
    model = build_vgg(11, 0.05, input_shape=(16, 16, 3))
    values = weights_from(saved(start, tmp_path / "top.keras"), model, Spec(10), TrainConfig(family="vgg", depth=11))
    assert len(values) == len(model.weights)
    np.testing.assert_array_equal(values[0], keras.ops.convert_to_numpy(start.weights[0]))


def test_another_architecture_is_one_error_that_lists_what_differs(ten):
    _, path = ten
    deeper = build_plainnet(depth=3, units=5, input_shape=(4, 4, 1))
    with pytest.raises(UserError, match=r"it lacks the layers 'dense3', 'dense3_bn'\. Give the `family`"):
        found(path, deeper, Spec(10))
    shallow = build_plainnet(depth=1, units=5, input_shape=(4, 4, 1))
    with pytest.raises(UserError, match="it has the layers 'dense2', 'dense2_bn' too"):
        found(path, shallow, Spec(10))
    wider = build_plainnet(depth=2, units=6, input_shape=(4, 4, 1))
    with pytest.raises(UserError, match=r"'dense1' \(kernel \(16, 5\) there, \(16, 6\) here; bias \(5,\) there"):
        found(path, wider, Spec(10))


def test_a_folded_model_is_told_as_one(ten, tmp_path):
    model, _ = ten
    folded, _ = fold(model, verify=False)
    with pytest.raises(UserError, match=r"it has none of the BatchNormalizations, as a folded model.* before folding"):
        found(saved(folded, tmp_path / "folded.keras"), model, Spec(10))


def test_the_fields_of_the_run_are_named_where_they_differ(first, splits):
    config = TrainConfig(**CONFIG | {"depth": 3}, start=str(first.run.path))
    with pytest.raises(UserError, match="its network has depth=2 there, 3 here"):
        begin(build_model(config, splits.spec), config, splits)


def test_the_network_of_a_run_or_of_its_file_is_known(first, tmp_path):
    expected = {"family": "plainnet", "depth": 2, "units": 16, "scenario": "proposed"}
    shutil.copy(first.run.model, tmp_path / "copy.keras")
    (tmp_path / "config.json").write_text('{"family": "vgg"}')  # of another program
    checkpoint = next(first.run.checkpoints.glob("*.keras"))
    for path in (first.run.path, first.run.model, checkpoint, tmp_path / "copy.keras"):
        network = network_of(path)
        assert {name: network[name] for name in expected} == expected
    assert network_of(tmp_path / "nowhere" / "nothing") == {}


def test_nothing_to_start_from_is_named(splits, tmp_path):
    with pytest.raises(UserError, match=r"recipe=finetune trains weights that are there\. Give `start`"):
        train(TrainConfig(**CONFIG | {"recipe": "finetune"}), splits, tmp_path / "run")
    with pytest.raises(UserError, match=r"start: .*nothing does not exist"):
        run(tmp_path / "run", start=str(tmp_path / "nothing"))
    assert not (tmp_path / "run" / "config.json").exists()
