"""A model file with classes, functions or code of its own is read where the user says so."""

import sys

import keras
import numpy as np
import pytest

from dirac_keras.files.keras_file import load_model

MODULE = """
import keras
from keras.layers import Dense

class Tripling(keras.layers.Layer):
    def call(self, inputs):
        return 3.0 * inputs

def halved(inputs):
    return 0.5 * inputs
"""
INPUTS = np.array([[1.0, 2.0]], "float32")


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """`(file, module)`: a network with a class and a function that are registered nowhere, and their module."""
    source = tmp_path / "made_elsewhere.py"
    source.write_text(MODULE)
    names = {}
    exec(MODULE, names)
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(2, activation=names["halved"], kernel_initializer="ones")(names["Tripling"]()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "custom.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    yield tmp_path / "custom.keras", source
    sys.modules.pop("made_elsewhere", None)


def test_without_its_module_the_unknown_name_is_said(custom):
    with pytest.raises(ValueError, match=r"needs '(Tripling|halved)', which is not known here"):
        load_model(custom[0])


@pytest.mark.parametrize("name", ["made_elsewhere", "made_elsewhere.py"])
def test_module_by_name_or_file_gives_its_classes_and_functions(name, custom):
    model, _ = load_model(custom[0], imports=name)
    np.testing.assert_allclose(model(INPUTS), [[4.5, 4.5]])  # (3 + 6) / 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module", r"imports: no_such_module cannot be imported: ModuleNotFoundError"),
        ("no_such_file.py", r"imports: no_such_file\.py does not exist"),
        ("broken.py", r"imports: broken\.py cannot be imported: SyntaxError"),
    ],
)
def test_module_that_cannot_be_imported_is_named(name, message, custom):
    custom[1].with_name("broken.py").write_text("def")
    with pytest.raises(ValueError, match=message):
        load_model(custom[0], imports=[name])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_runs_only_where_it_is_allowed(suffix, tmp_path):
    inputs = keras.Input((2,))
    path = tmp_path / f"code{suffix}"
    keras.Model(inputs, keras.layers.Lambda(lambda x: 2.0 * x)(inputs)).save(path)
    with pytest.raises(ValueError, match=r"holds Python code \(a Lambda layer\), .* give `unsafe=True`"):
        load_model(path)
    np.testing.assert_array_equal(load_model(path, unsafe=True)[0](INPUTS), 2.0 * INPUTS)
