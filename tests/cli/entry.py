"""The entry point, called in this process."""

import sys

from dirac_keras import cli


def runner_of(command, monkeypatch, capsys):
    """A function of a command's arguments: its exit status, and what it wrote to standard output and error."""

    def run(*arguments):
        status = status_of((command, *arguments), monkeypatch)
        return (status, *capsys.readouterr())

    return run


def status_of(arguments, monkeypatch):
    """The exit status of `dirac-keras ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["dirac-keras", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
