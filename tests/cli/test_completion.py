"""Completion, by the functions of click and by the TAB key in the shells themselves."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dirac_keras.cli.shell import completing, write_completion_table
from tests.cli.entry import status_of


def test_the_table_is_that_of_the_commands():
    """Else: python -m dirac_keras.cli.shell.write_completion_table"""
    assert write_completion_table.TABLE.read_text(encoding="utf-8") == write_completion_table.text()


def items(*words):
    """What is offered for the last of some words."""
    from click.shell_completion import ShellComplete

    shell = ShellComplete(completing.build_group(), {}, completing.PROGRAM, completing.VARIABLE)
    return shell.get_completions(list(words[:-1]), words[-1])


def words(*typed):
    return [item.value for item in items(*typed)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for run in ("runs/one", "runs/deep/two", "other"):
        (tmp_path / run).mkdir(parents=True)
        for name in ("config.json", "metrics.csv"):
            (tmp_path / run / name).write_text("")
    (tmp_path / "runs" / "none").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_options():
    assert words("ev") == ["evaluate"] and "runs" in words("")
    assert {"--optimizer", "--overwrite"} <= set(words("train", "--o"))
    assert words("runs", "pru") == ["prune"] and "--failed" in words("runs", "prune", "--f")
    assert "--picture" in words("runs", "some", "--p") and "--picture" in words("runs", "--p")


def test_values():
    assert words("train", "--recipe", "quick") == ["quick", "quick_muon"]
    assert words("train", "--data", "cifar") == ["cifar10", "cifar100"]
    assert words("data", "show", "fa") == ["fashion_mnist"]
    assert words("train", "--tracker", "wandb,ml") == ["wandb,mlflow"]
    assert words("train", "--augmentation", "cifar+mix") == ["cifar+mixup"]
    assert words("runs", "--sort", "acc") == ["accuracy"]
    assert words("completion", "z") == ["zsh"]


def test_folders_of_runs(folder):
    assert words("evaluate", "runs/") == ["runs/deep/two", "runs/one"]
    assert words("evaluate", "") == ["other", "runs/deep/two", "runs/one"]
    assert words("evaluate", "runs/o") == ["runs/one"]
    [item] = items("evaluate", "runs/nothing")
    assert (item.type, item.value) == ("file", "runs/nothing")  # which the shell completes itself
    assert [item.type for item in items("train", "--workdir", "ru")] == ["dir"]
    assert [item.type for item in items("runs", "ru")] == ["dir"]


def test_no_keras_is_imported_to_answer():
    code = "import sys; from dirac_keras.cli.shell import completing; completing.build_group(); " \
           "assert not {'keras', 'tensorflow', 'jax', 'rich', 'numpy'} & set(sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(shell, monkeypatch, capsys):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed, whose version click asks for")
    assert status_of(["completion", shell], monkeypatch) == 0
    assert completing.VARIABLE in capsys.readouterr().out


SCREENS = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}
SETUP = {
    "bash": 'PS1="READY "; bind "set enable-bracketed-paste off"; source {script}',
    "zsh": 'PS1="READY "; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -d {folder}/dump; '
    "source {script}",
    "fish": "function fish_prompt; echo -n 'READY '; end; source {script}",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # the child is a shell
@pytest.mark.parametrize("shell", SCREENS)
def test_the_tab_key(shell, folder, monkeypatch, capsys):
    """In a terminal: a command, a value, a run's folder."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert status_of(["completion", shell], monkeypatch) == 0
    (folder / "script").write_text(capsys.readouterr().out)
    bin = folder / "bin"
    bin.mkdir()
    program = bin / "dirac-keras"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dirac_keras.cli "$@"\n')
    program.chmod(0o755)
    screen = Screen([shell, *SCREENS[shell], "-i"], folder, f"{bin}:{os.environ['PATH']}")
    try:
        setup = SETUP[shell].format(script=folder / "script", folder=folder)
        screen.type(f"{setup}; echo SET''UP\n", "SETUP")
        screen.type("dirac-keras eval\t", "dirac-keras evaluate ")
        screen.type("runs/o\t", "runs/one")
        screen.type("\x15dirac-keras train --optimizer adam\t", "adamw")
    finally:
        screen.close()


class Screen:
    """A shell on a terminal of its own."""

    def __init__(self, arguments, folder, path):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.environ.update(PATH=path, TERM="dumb" if arguments[0] != "fish" else "xterm", HOME=str(folder))
            os.execvp(arguments[0], arguments)

    def type(self, text, expected, seconds=60):
        """Type a text and wait until another is to be seen behind what was there."""
        os.write(self.terminal, text.encode())
        seen, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.2)[0]:
                seen += os.read(self.terminal, 4096).decode(errors="replace")
                if expected in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", seen):
                    return
        pytest.fail(f"{expected!r} was not to be seen; what was: {seen!r}")

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.terminal)
