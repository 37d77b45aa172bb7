"""What `fold`, `diagnose` and `reproduce` may put in a file's place."""

import json

import keras
import pytest

from dirac_keras.experiments import PAPERS, reproduce_experiment
from dirac_keras.files.keras_file import save_model
from dirac_keras.files.outputs import check_diagnosis, check_folded


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])


def test_folded_model_may_be_replaced(model, tmp_path):
    path = save_model(model, tmp_path / "folded.keras", {})
    check_folded(path, tmp_path / "model.keras")
    check_folded(tmp_path / "absent.keras", tmp_path / "model.keras")


def compiled(model, path):
    model.compile("sgd", "mse")
    save_model(model, path, {"run": "1"})


NOT_FOLDED = {
    "trained model": compiled,
    "checkpoint": lambda model, path: save_model(model, path, {"position": {}}),
    "model of Keras alone": lambda model, path: model.save(path),
    "text": lambda model, path: path.write_text("mine"),
    "folder": lambda model, path: path.mkdir(),
    "link": lambda model, path: path.symlink_to(save_model(model, path.with_name("other.keras"), {})),
}


@pytest.mark.parametrize("kind", NOT_FOLDED)
def test_file_that_fold_did_not_write_is_not_replaced(kind, model, tmp_path):
    path = tmp_path / "x.keras"
    NOT_FOLDED[kind](model, path)
    with pytest.raises(ValueError, match=r"output: .*x.keras was not written by fold, so it is not replaced"):
        check_folded(path, tmp_path / "model.keras")


def test_model_itself_is_not_replaced(model, tmp_path):
    path = save_model(model, tmp_path / "m.keras", {})
    (tmp_path / "link.keras").symlink_to(path)
    for output in (path, tmp_path / "link.keras"):
        with pytest.raises(ValueError, match="is the model itself, which would be lost"):
            check_folded(output, path)


def test_diagnosis_may_be_replaced_and_nothing_else(tmp_path):
    check_diagnosis(tmp_path)
    record = tmp_path / "diagnostics.json"
    (tmp_path / "diagnostics.html").write_text("<p>mine")
    with pytest.raises(ValueError, match=r"diagnostics.html was not written by a diagnosis"):
        check_diagnosis(tmp_path)
    record.write_text(json.dumps({"model": "m.keras", "data": "digits", "split": "train", "verdict": {}}))
    check_diagnosis(tmp_path)
    record.write_text('{"patient": "Ann"}')
    with pytest.raises(ValueError, match=r"diagnostics.json is not a diagnosis, so it is not replaced"):
        check_diagnosis(tmp_path)


def test_report_takes_no_other_files_place(tmp_path):
    experiment = PAPERS["plainnets"]["table2"]
    (tmp_path / "table2.md").write_text("# My thesis\n")
    with pytest.raises(ValueError, match=r"table2.md is no report of reproduce"):
        reproduce_experiment(experiment, tmp_path)
    assert (tmp_path / "table2.md").read_text() == "# My thesis\n"
