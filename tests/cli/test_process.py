"""The process around a command: closed streams, odd environments, signals. Each is one line, without a traceback."""

import io
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from dirac_keras import cli
from dirac_keras.cli.speech import process
from dirac_keras.cli.speech.errors import explain

PROGRAM = [sys.executable, "-m", "dirac_keras.cli"]


def run(*arguments, shell="", **environment):
    command = f"{' '.join([*PROGRAM, *arguments])} {shell}"
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, **environment}, errors="replace"
    )


def test_help_on_a_closed_or_full_output():
    """Without Keras, so these are quick."""
    closed = run("--help", shell=">&- 2>&- <&-")
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    full = run("--help", shell="> /dev/full")
    assert full.returncode == 1 and full.stderr.count("\n") == 1 and "No space left on device" in full.stderr


def test_text_that_the_terminal_has_no_letters_for_is_escaped():
    ended = run("--help", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0 and ended.stderr == ""


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Function `(*arguments) -> (status, standard error)` with a standard output that may fail."""

    def call(*arguments, stdout=None):
        error = io.StringIO()
        monkeypatch.setattr(sys, "argv", ["dirac-keras", *map(str, arguments)])
        monkeypatch.setattr(sys, "stderr", error)
        if stdout is not None:
            monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        try:
            cli.main()
        except SystemExit as end:
            return end.code, error.getvalue()
        return 0, error.getvalue()

    return call


class ClosedByItsReader(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_output_that_its_reader_has_closed_is_one_line_and_a_status_of_its_own(command):
    status, error = command("reproduce", "plainnets", "--list", "--no-measure", stdout=ClosedByItsReader())
    assert status == 141 and error.count("\n") == 1 and "standard output was closed by whoever read it" in error


@pytest.fixture
def _interruptible():
    """As in a terminal: what a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize(("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (2, 130, "interrupted")])
def test_signal_ends_any_command_with_one_line(number, status, word, command, monkeypatch):
    from dirac_keras.cli import reading

    before = signal.getsignal(number)
    monkeypatch.setattr(reading, "load_model", lambda *a, **k: signal.raise_signal(number))
    ended, error = command("info", "x.keras")
    assert (ended, error.strip()) == (status, f"Error: {word}.")  # click ends the line that ^C stands in
    assert signal.getsignal(number) is before


def test_signal_while_the_program_is_imported_is_one_line(command, monkeypatch):
    import importlib

    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert command("info", "x.keras") == (130, "Error: interrupted.\n")


@pytest.mark.parametrize("backend", ["foo", "torch"])
def test_backend_that_is_not_there_is_one_line(backend):
    if backend == "torch":
        pytest.importorskip("keras")
        try:
            import torch  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("PyTorch is installed")
    ended = run("info", "x.keras", KERAS_BACKEND=backend)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.count("Error:") == 1 and "Set KERAS_BACKEND to a backend that is installed" in ended.stderr


def test_closed_descriptor_is_no_place_for_a_file(monkeypatch):
    """The next file to be opened would be the standard output."""
    begin = "from dirac_keras.cli.speech.process import standing_streams as s"
    script = f"{begin}; import os; s(); os._exit(os.open('/', 0) < 3)"
    command = f'{sys.executable} -c "{script}" >&- 2>&- <&-'
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0
    monkeypatch.setattr(sys, "stdout", None)
    process.standing_streams()  # the descriptor is open: left alone


@pytest.mark.parametrize(
    ("processor", "chosen", "found"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("aarch64", None, None)],
)
def test_tensorflow_has_onednn_on_x86_unless_the_user_has_chosen(processor, chosen, found, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: processor)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if chosen:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", chosen)
    monkeypatch.setattr(cli.sys, "argv", ["dirac-keras", "--version"])
    cli.main()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == found


class Hdf5Error(OSError):
    pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(30, "Read-only file system"), "Read-only file system"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (
            Hdf5Error(
                "Unable to create file (unable to open file: name = '/full/x.h5', errno = 28, error message = ..."
            ),
            "/full/x.h5: No space left on device.",
        ),
        (RuntimeError("Could not determine home directory."), "Set HOME"),
        (BrokenPipeError(32, "Broken pipe"), "standard output was closed"),
    ],
    ids=str,
)
def test_what_the_system_refuses_is_no_fault_of_the_software(error, line):
    assert line in explain(error)


def test_full_disk_that_tensorflow_calls_a_resource_is_no_lack_of_memory():
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "/full/events.out.tfevents.1; No space left on device")
    assert "No space left on device" in explain(error) and "memory" not in explain(error)
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")
    assert explain(error).startswith("out of memory: OOM when allocating")


def test_directory_that_is_gone_is_named(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        os.getcwd()
    caught.value.filename = None
    assert explain(caught.value) == "the current directory does not exist any more. Change to another one."


class Unspeakable(RuntimeError):
    def __str__(self):
        raise RecursionError


def test_fault_whose_text_cannot_be_made_is_told_all_the_same(command, monkeypatch):
    from dirac_keras.cli import reading

    def fail(*arguments, **options):
        raise Unspeakable

    monkeypatch.setattr(reading, "load_model", fail)
    status, error = command("info", "x.keras")
    assert status == 70 and "Unspeakable, whose text cannot be made" in error and error.count("\n") == 1
