"""The ledger of the documentation is that of the runs in results/."""

import pathlib

from dirac_keras.experiments.ledger import ledger_text

ROOT = pathlib.Path(__file__).parents[2]


def test_the_ledger_is_what_the_kept_runs_give():
    text, (counted, *left_out) = ledger_text(ROOT / "results")
    assert not left_out and ", 0 not finished, 0 left out" in counted
    assert text == (ROOT / "docs" / "ledger.md").read_text(), "run `make ledger`"
