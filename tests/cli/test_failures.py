"""What the program says and how it ends when something goes wrong; what it is silent about."""

import errno
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from dirac_keras import cli
from dirac_keras.cli import reading
from dirac_keras.cli.speech.errors import RENAMED_OPTIONS, explain
from dirac_keras.errors import MissingExtra, RunError, UserError, missing_extra
from pipelines import DataError
from tests.cli.entry import status_of


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Exit status, standard output and standard error of the entry point; logs go to `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def call(*arguments):
        status = status_of(arguments, monkeypatch)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def failing(monkeypatch):
    """Makes `info` raise an exception."""

    def fail_with(error):
        def load_model(path, **options):
            raise error

        monkeypatch.setattr(reading, "load_model", load_model)

    return fail_with


def system_error(number, path=None):
    return OSError(number, "of the system", path)


@pytest.mark.parametrize(
    "error",
    [
        UserError("depth must be 10."),
        RunError("the loss became nan"),
        DataError("cat.png is no image"),
        missing_extra("tune", "keras-tuner", "tune"),
        MissingExtra("needs more"),
        ImportError("digits needs scikit-learn, which is not installed"),
        system_error(errno.EACCES, "/closed/x"),
        system_error(errno.ENOSPC),
        ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
        MemoryError("Unable to allocate 8 TiB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_expected_error_is_one_line_and_status_1(error, failing, command, tmp_path):
    failing(error)
    status, out, err = command("info", "x.keras")
    assert status == 1 and err.count("Error:") == 1 and "Traceback" not in out + err and "fault" not in err
    assert list(tmp_path.iterdir()) == [], "a log of what is no fault"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("not enough values to unpack"),
        RuntimeError("wrong state"),
        KeyError("depth"),
        AssertionError(),
        system_error(errno.EBADF),
        ModuleNotFoundError("No module named 'dirac_keras.x'", name="dirac_keras.x"),
        ImportError("cannot import name 'x'", name="dirac_keras"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_fault_is_one_line_that_names_the_exception_and_a_log_with_the_traceback(error, failing, command, tmp_path):
    failing(error)
    status, out, err = command("info", "x.keras")
    text = " ".join(err.split())
    assert status == 70 and "Traceback (most recent" not in out + err
    assert text.startswith("Error: this is a fault of dirac-keras, not yours: " + type(error).__name__)
    [log] = tmp_path.glob("dirac-keras-error-*.log")
    assert f"Its traceback is in {log}" in text
    written = log.read_text()
    assert "Traceback (most recent call last)" in written and "load_model" in written
    assert "dirac-keras info x.keras" in written


def test_fault_whose_log_cannot_be_written_says_so(command, monkeypatch, tmp_path):
    def load_model(path, **options):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
        raise KeyError("depth")

    monkeypatch.setattr(reading, "load_model", load_model)
    status, _, err = command("info", "x.keras")
    text = " ".join(err.split())
    assert status == 70 and "could not be written" in text and "--debug" in text


@pytest.mark.parametrize(("error", "status"), [(UserError("depth must be 10."), 1), (KeyError("depth"), 70)])
@pytest.mark.parametrize("arguments", [("--debug", "info", "x.keras"), ("info", "x.keras", "--debug")])
def test_debug_shows_the_traceback(arguments, error, status, failing, command, tmp_path):
    failing(error)
    ended, _, err = command(*arguments)
    assert ended == status and "Traceback (most recent call last)" in err and type(error).__name__ in err
    assert list(tmp_path.iterdir()) == []


def test_no_environment_variable_shows_the_traceback(failing, command, monkeypatch):
    monkeypatch.setenv("DIRAC_KERAS_TRACEBACK", "1")
    failing(UserError("depth must be 10."))
    assert "Traceback" not in command("info", "x.keras")[2]


def test_error_that_a_framework_raises_from_ours_is_ours():
    outer = RuntimeError("page of a framework")
    outer.__cause__ = UserError("depth must be 10.")
    assert explain(outer) == "depth must be 10."
    outer.__cause__ = KeyError("depth")
    assert explain(outer) is None


def test_batch_that_never_came_out_of_the_data_service_is_one_line():
    import tensorflow as tf

    from pipelines.service import ordered

    def batches():
        yield from ordered(iter([(7, 1), (8, 1), (9, 1)]), 0, most_waiting=2)

    stream = tf.data.Dataset.from_generator(batches, output_signature=(tf.TensorSpec((), tf.int32),))
    with pytest.raises(tf.errors.OpError) as caught:
        list(stream)
    assert explain(caught.value).startswith("data_service: batch 0 never came")


def test_message_speaks_of_the_options_of_the_command(command, tmp_path):
    (tmp_path / "plain.keras").write_text("here already")
    status, _, err = command("fold", "absent.keras", "--output", tmp_path / "plain.keras")
    assert status == 1 and "exists. Give another --output, or --overwrite to replace it." in " ".join(err.split())
    status, _, err = command("train", "--workdir", tmp_path, "--no-export")
    assert status == 1 and "holds files that are no run's" in " ".join(err.split()) and "`" not in err


def test_log_line_speaks_of_the_options_of_the_command():
    import logging

    from dirac_keras.cli.group import Invocation
    from dirac_keras.cli.speech.output import OptionFormatter

    record = logging.LogRecord("dirac_keras", logging.INFO, "", 0, "nothing (`overwrite=True` trains %s)", ("x",), None)
    formatter = OptionFormatter(Invocation(cli.commands.load("train")))
    assert formatter.format(record) == "nothing (--overwrite trains x)"


@pytest.mark.parametrize("name", ["train", "tune"])
@pytest.mark.parametrize("old", sorted(RENAMED_OPTIONS))
def test_renamed_option_gets_one_line_with_the_new_name(name, old, command):
    for arguments in ((old, "plain"), (f"{old}=plain",)):
        status, _, err = command(name, *arguments)
        assert status == 2 and f"{old} is called {RENAMED_OPTIONS[old]} now." in " ".join(err.split())


def test_option_that_never_was_is_unknown(command):
    status, _, err = command("info", "--kind", "plain", "x.keras")
    assert status == 2 and "No such option" in " ".join(err.split()) and "--layout" not in err


def test_list_of_commands_has_the_first_sentence_of_each_help_text():
    for name, (_, _, sentence) in cli.COMMANDS.items():
        loaded = cli.commands.load(name)
        assert loaded.name == name and " ".join(loaded.help.split()).startswith(sentence)


def test_unknown_command_is_refused(command):
    status, _, err = command("trian")
    assert status == 2 and "No such command" in " ".join(err.split())


def run(*arguments, **options):
    return subprocess.run([*map(str, arguments)], capture_output=True, text=True, **options)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_and_version_import_no_keras(arguments):
    script = "import sys; from dirac_keras.cli import main\ntry:\n main()\nfinally:\n assert 'keras' not in sys.modules"
    process = run(sys.executable, "-c", script, *arguments)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.slow
def test_error_is_all_that_the_installed_program_writes_to_standard_error():
    program = shutil.which("dirac-keras", path=pathlib.Path(sys.executable).parent)
    if program is None:
        pytest.skip("the package is not installed in this environment")
    process = run(program, "info", "absent.keras")
    assert process.returncode == 1 and len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("Error: path: absent.keras does not exist.")


def test_missing_backend_is_named(tmp_path):
    """Where Keras' backend is not installed, which a stub that fails to import stands for."""
    script = """
import sys
sys.modules["tensorflow"] = None
sys.argv = ["dirac-keras", "info", "x"]
from dirac_keras.cli import main
main()
"""
    process = run(sys.executable, "-c", script, env={"KERAS_BACKEND": "tensorflow", "PATH": ""})
    assert process.returncode == 1 and "backend that is installed (jax), or install tensorflow" in process.stderr
    assert "Traceback" not in process.stderr
