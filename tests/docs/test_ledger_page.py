"""The ledger of the documentation, and the tables of results in its pages, are those of the runs in results/."""

import pathlib

import pytest

from dirac_keras.experiments import PAPERS
from dirac_keras.experiments.ledger import ledger_text
from dirac_keras.experiments.ledger.collecting import collect
from dirac_keras.experiments.ledger.inserts import END, filled

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if END in page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def kept():
    return collect(ROOT / "results", PAPERS)


def test_the_ledger_is_what_the_kept_runs_give():
    text, (counted, *left_out) = ledger_text(ROOT / "results")
    assert not left_out and ", 0 not finished, 0 left out" in counted
    assert text == (ROOT / "docs" / "ledger.md").read_text(), "run `make ledger`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_results_are_those_of_the_kept_runs(kept, page):
    text = page.read_text(encoding="utf-8")
    assert filled(text, kept, PAPERS, page) == text, "run `make ledger`"
