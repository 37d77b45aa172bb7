"""A package that writes to standard error while it is imported, as TensorFlow does on the C++ side."""

import os
import sys

import pytest

from dirac_keras.files.stderr import QuietImport


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """Name of a package that says something on file descriptor 2."""
    name = "noisy_at_import"
    (tmp_path / f"{name}.py").write_text('import os\nos.write(2, b"a notice")\nvalue = 1 / int(os.environ["NOISY"])\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [QuietImport(name), *sys.meta_path])
    monkeypatch.setenv("NOISY", "1")
    yield name
    sys.modules.pop(name, None)


def test_notices_of_an_import_are_not_shown_whenever_it_comes(noisy, capfd):
    module = __import__(noisy)
    os.write(2, b"what comes later")
    assert (module.value, module.__name__) == (1.0, noisy) and capfd.readouterr().err == "what comes later"


def test_notices_of_an_import_that_fails_are_shown(noisy, capfd, monkeypatch):
    monkeypatch.setenv("NOISY", "0")
    with pytest.raises(ZeroDivisionError):
        __import__(noisy)
    assert capfd.readouterr().err == "a notice"


def test_package_that_is_absent_is_told_as_ever(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [QuietImport("absent_package"), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="No module named 'absent_package'"):
        __import__("absent_package")
