"""The exit statuses: those of the documentation, of the module that ends a process, and of the code are the same."""

import pathlib
import re

import pytest

from dirac_keras.cli.reproduce import command as reproduce
from dirac_keras.cli.speech import errors
from dirac_keras.training.stepping.interruption import SIGNALS
from tests.cli.entry import status_of

ROOT = pathlib.Path(__file__).parents[2]


def statuses(text):
    """The numbers in the first column of the table under "exit status", or "status"."""
    rows = re.search(r"\| (?:exit )?status \|.*?\n((?:\|.*\n)+)", text)[1]
    return {int(number) for row in rows.splitlines() for number in re.findall(r"\d+", row.split("|")[1])}


def test_the_documentation_has_every_status():
    documented = statuses((ROOT / "docs" / "command-line.md").read_text(encoding="utf-8"))
    signals = {128 + number for number in SIGNALS}
    ours = {0, 1, 2, errors.FAULT, reproduce.BUDGET_SPENT, errors.OUTPUT_CLOSED} | signals
    assert documented == ours == {0, 1, 2, 70, 75, 130, 141, 143}
    assert statuses(errors.__doc__) | {0} == documented


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--version",), 0),
        (("runs", "--help"), 0),
        (("runs", "."), 0),  # no run is nothing wrong
        (("runs", "absent"), 1),
        (("runs", ".", "--picture", "a.txt"), 1),
        (("runs", ".", "--sort", "beauty"), 2),
        (("runs", "prune"), 2),
        (("completion", "tcsh"), 2),
        (("nothing",), 2),
        (("train", "--depth", "ten"), 2),
        (("train", "--tracker", "paper"), 1),
    ],
)
def test_a_status_says_whose_mistake_it_is(arguments, status, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert status_of(arguments, monkeypatch) == status
