"""Errors of the library: what they are, and that they speak of arguments."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

import dirac_keras
from dirac_keras import moved
from dirac_keras.errors import MissingExtra, RunError, UserError, missing_extra
from pipelines import moved as moved_pipelines

PACKAGE = pathlib.Path(dirac_keras.__file__).parent
MOVED = {**moved.MOVED, **moved_pipelines.MOVED}


def test_errors_are_caught_as_python_s_own():
    assert issubclass(UserError, ValueError) and issubclass(RunError, RuntimeError)
    assert issubclass(MissingExtra, ImportError)


def test_what_goes_wrong_in_a_run_is_a_run_error():
    from dirac_keras.callbacks.divergence import TrainingDiverged
    from dirac_keras.distribution import WorkerLost

    assert issubclass(TrainingDiverged, RunError) and issubclass(WorkerLost, RunError)


def test_missing_package_is_named_with_its_install_line():
    text = str(missing_extra("tune", "keras-tuner", "tune"))
    assert text == "tune needs keras-tuner, which is not installed: pip install 'dirac_keras[tune]'"


def texts_of_errors(path):
    """`(line, text)` of what is raised in a source file, values left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            parts = [part for part in ast.walk(node.exc) if isinstance(part, ast.Constant)]
            yield node.lineno, " ".join(part.value for part in parts if isinstance(part.value, str))


def test_no_error_of_the_library_names_a_flag():
    sources = [
        path for name in ("dirac_keras", "pipelines", "tuning") for path in PACKAGE.parent.glob(f"{name}/**/*.py")
    ]
    library = [path for path in sources if path.parent.name != "cli"]
    assert len(library) > 100
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{line}"
        for path in library
        for line, text in texts_of_errors(path)
        if re.search(r"(^|[\s(])--[a-z]", text)
    ]
    assert found == []


@pytest.mark.parametrize("old", sorted(MOVED))
def test_module_under_its_old_name_says_the_new_one(old):
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(old)
    assert str(caught.value) == f"{old} has moved: import {MOVED[old]}"
    for new in re.findall(r"(?:dirac_keras|pipelines|tuning)[.\w]+", MOVED[old]):
        assert importlib.util.find_spec(new) is not None, "the new name is no module"


@pytest.mark.parametrize("old", sorted(moved.MOVED_NAMES))
def test_name_that_has_left_its_module_says_where_it_is(old):
    module, name = old.rsplit(".", 1)
    with pytest.raises(ImportError) as caught:
        exec(f"from {module} import {name}")
    assert str(caught.value) == f"{old} has moved: import it from {moved.MOVED_NAMES[old]}"
    assert hasattr(importlib.import_module(moved.MOVED_NAMES[old]), name)


@pytest.mark.parametrize(
    ("script", "new"),
    [
        ("from dirac_keras.config import TrainConfig", "dirac_keras.training.config"),
        ("from dirac_keras import config", "dirac_keras.training.config"),
        ("import dirac_keras; dirac_keras.optimizers", "dirac_keras.training.optimization.optimizers"),
        ("import dirac_keras.export as export", "dirac_keras.deployment"),
        ("from pipelines.spec import DataSpec", "pipelines.examples"),
    ],
)
def test_old_script_ends_with_one_line_that_has_the_new_name(script, new):
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    last = process.stderr.splitlines()[-1]
    assert process.returncode == 1 and "has moved: import " + new in last


def test_unknown_name_is_still_unknown():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'dirac_keras\.nothing'"):
        importlib.import_module("dirac_keras.nothing")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        dirac_keras.nothing  # noqa: B018
    assert not hasattr(dirac_keras, "config")


def test_export_is_the_function_also_after_its_old_module_was_asked_for():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("dirac_keras.export")
    assert callable(dirac_keras.export) and dirac_keras.export.__module__.startswith("dirac_keras.deployment")


def test_import_looks_at_no_argument_and_touches_no_file_descriptor():
    script = """
import os, sys
del sys.argv, sys.orig_argv
def refuse(*arguments, **options):
    raise AssertionError("a file descriptor was touched")
os.dup = os.dup2 = os.open = os.write = refuse
import dirac_keras
print(dirac_keras.__version__, "keras" in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.stdout.split() == [dirac_keras.__version__, "False"], process.stderr
