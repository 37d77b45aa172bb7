"""A page's tables of results are what the files of the runs say."""

import pytest

from dirac_keras.errors import UserError
from dirac_keras.experiments import PAPERS
from dirac_keras.experiments.ledger.collecting import collect
from dirac_keras.experiments.ledger.inserts import END, filled, write_pages
from dirac_keras.experiments.plainnets.networks import dense_run
from dirac_keras.experiments.van.dense import dense_run as dense_van
from tests.experiments.run_files import write_ended


def page(request, old=""):
    return f"before\n<!-- results: {request} -->\n{old}{END}\nafter\n"


def table(text):
    """The cells of a table, by the first cell of their row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


@pytest.fixture
def folder(tmp_path):
    """Two seeds of one network of table II, 30 epochs; two depths of Fig. 1."""
    for seed, accuracy in ((0, 0.92), (1, 0.94)):
        config = dense_run("usps", "proposed").config(seed=seed, epochs=30)
        name = "usps-100-proposed" + (f"-seed{seed}" if seed else "")
        write_ended(tmp_path / name, config, accuracy, train_accuracy=0.99)
    for depth, accuracy in ((10, 0.9), (3, 0.75)):
        write_ended(tmp_path / f"coil20-{depth}-bn", dense_run("coil20", "bn", depth).config(), accuracy)
    return tmp_path


def fill(folder, text):
    return filled(text, collect(folder, PAPERS), PAPERS)


def test_a_row_has_both_errors_beside_the_papers(folder):
    """By hand: errors of 8 and 6 % are 7 +- 1.41, the training error of both is 1."""
    text = fill(folder, page("plainnets table2", "an older table\n"))
    rows = table(text)
    assert rows["network"] == ["train error", "paper", "test error", "paper"]
    assert rows["usps, 100 layers, proposed: all three"] == ["1.00 ± 0.00 %", "0.11 %", "7.00 ± 1.41 %", "5.48 %"]
    assert rows["usps, 100 layers, BN"] == ["not run", "84.56 %", "not run", "83.21 %"]
    assert "\n2 seeds, 30 epochs. cifar10, 50,000 images. a machine, 2 cores, float32, jax. 2026-11-27.\n" in text
    assert text.startswith("before\n") and text.endswith("after\n") and "older" not in text


def test_depths_stand_side_by_side(folder):
    text = fill(folder, page("plainnets fig1 by depth"))
    assert table(text) == {"test error": ["3", "10"], "---": ["---", "---"], "coil20 BN": ["25.00 %", "10.00 %"]}
    assert "\n1 seed, 60 epochs." in text


def test_facts_that_differ_have_a_column(folder):
    config = dense_run("usps", "bn").config(epochs=300)
    write_ended(folder / "usps-100-bn", config, 0.2, train_accuracy=0.1)
    rows = table(text := fill(folder, page("plainnets table2")))
    assert rows["network"][-2:] == ["seeds", "epochs"]
    assert rows["usps, 100 layers, BN"][-2:] == ["1", "300"]
    assert rows["usps, 100 layers, proposed: all three"][-2:] == ["2", "30"]
    assert rows["usps, 100 layers, LReLU"][-2:] == ["", ""]
    assert "\ncifar10, 50,000 images. " in text


def test_nothing_run_is_said(folder):
    for request in ("van fig1 by depth", "diracnets sigma"):
        block = f"<!-- results: {request} -->\n\nThe ledger has no run of it.\n\n{END}\n"
        assert block in fill(folder, page(request))


def test_data_sets_and_lengths_of_one_series_have_rows_of_their_own(tmp_path):
    """Errors of a VAN of 10 layers: 10 % on MNIST and 20 % on Fashion-MNIST after 10 epochs, 5 % after 50."""
    for data, accuracy, epochs in (("mnist", 0.9, 10), ("fashion_mnist", 0.8, 10), ("mnist", 0.95, 50)):
        config = dense_van(data, "van", 10).config(epochs=epochs)
        write_ended(tmp_path / f"{epochs}" / f"{data}-van10", config, accuracy)
    rows = table(fill(tmp_path, page("van fig1 by depth")))
    assert rows["mnist van, 50 epochs"] == ["5.00 %"] and rows["mnist van, 10 epochs"] == ["10.00 %"]
    assert rows["fashion_mnist van, 10 epochs"] == ["20.00 %"]


def test_runs_of_two_versions_are_both_shown(folder):
    write_ended(folder / "old" / "coil20-3-bn", dense_run("coil20", "bn", 3).config(), 0.5, version="0.0.9")
    assert table(fill(folder, page("plainnets fig1 by depth")))["coil20 BN"][0] == "50.00 %; 25.00 %"
    config = dense_run("usps", "proposed").config(epochs=30)
    write_ended(folder / "old" / "usps-100-proposed", config, 0.5, train_accuracy=0.5, version="0.0.9")
    rows = [line for line in fill(folder, page("plainnets table2")).splitlines() if "proposed" in line]
    assert len(rows) == 2 and "7.00 ± 1.41 %" in rows[1] and "dirac_keras 0.0.9" in rows[0]


def test_filling_twice_changes_nothing(folder):
    once = fill(folder, page("plainnets table2") + page("plainnets fig1 by depth"))
    assert fill(folder, once) == once


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (page("plainnets tabel2"), "no entry `plainnets tabel2`.*plainnets table2"),
        (page("plainnets fig1 by width"), "`by width` is no form of a table"),
        (page("plainnets fig1").replace(END, ""), "begins or ends without the other"),
        (END, "begins or ends without the other"),
    ],
)
def test_a_wrong_request_leaves_every_page_alone(folder, text, said):
    right, wrong = folder / "right.md", folder / "wrong.md"
    right.write_text(page("plainnets table2"))
    wrong.write_text(text)
    with pytest.raises(UserError, match=said):
        write_pages(folder, [right, wrong])
    assert right.read_text() == page("plainnets table2") and wrong.read_text() == text
    assert write_pages(folder, [right]) == [f"written: {right}"] and write_pages(folder, [right]) == []


def test_a_page_may_show_such_a_comment_as_code(folder):
    text = "```\n" + page("plainnets table2") + "```\n" + page("plainnets table2")
    filled_once = fill(folder, text)
    assert filled_once.startswith("```\n" + page("plainnets table2") + "```\n") and "7.00 ± 1.41 %" in filled_once
    assert fill(folder, filled_once) == filled_once
