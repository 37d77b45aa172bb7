"""The ledger is what the files of the runs say: it changes with them, and with nothing else."""

import json
import shutil

import pytest

from dirac_keras.experiments import PAPERS, Selection
from dirac_keras.experiments.artefacts import ARTEFACTS
from dirac_keras.experiments.ledger import ledger_text, write_ledger
from dirac_keras.experiments.ledger.page import NAMES
from dirac_keras.files.records import sealed
from tests.experiments.run_files import write_ended

# A table of numbers of a paper, in full and short.
PAPER, ENTRY = "plainnets", "table2"
NETWORK = "proposed"


def the_run(length, seed=0):
    """The run of `NETWORK` with a seed."""
    runs = Selection(length, (seed,)).runs(PAPERS[PAPER][ENTRY])
    return next(run for run in runs if run.paper.get("test_error") == 5.48)


@pytest.fixture
def folder(tmp_path):
    """Two seeds at the paper's length, one short run, each with its own numbers."""
    for seed, accuracy in ((0, 0.92), (1, 0.94)):
        run = the_run("full", seed)
        write_ended(tmp_path / "full" / run.name, run.config(), accuracy, train_accuracy=0.99, device="a GPU")
    run = the_run("short")
    write_ended(tmp_path / "short" / run.name, run.config(), 0.80)
    return tmp_path


def cells(text, *words):
    """The cells of the rows that have all of some words."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and all(word in line for word in words)]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def section(text, title):
    return text.split(title)[1].split("\n### ")[0]


def own_rows(folder, metric):
    text, _ = ledger_text(folder, PAPER)
    title = the_run("full").title
    return [row for row in cells(section(text, f"(`{ENTRY}`)"), f"| {metric} |") if row[0].strip("| ") == title]


def test_a_row_has_the_papers_number_and_the_mean_and_deviation_of_ours(folder):
    """By hand: errors of 8 and 6 % are 7 on average, +-1, so 1.41 as a sample."""
    full, short = own_rows(folder, "test error")
    assert full[1:6] == ["test error", "5.48 %", "7.00 ± 1.41 %", "2", f"{the_run('full').config().epochs}"]
    assert full[7] == "cifar10, 50,000 images" and full[8] == "a GPU, float32, jax" and full[9] == "2026-11-27"
    assert (
        full[10] == f"`dirac-keras reproduce {PAPER} --only {ENTRY} --run {the_run('full').network} --seeds 2 --full`"
    )
    assert short[3:6] == ["20.00 %", "1", f"{the_run('short').config().epochs}"]
    assert short[8] == "a machine, 2 cores, float32, jax"
    assert f"{the_run('short').config().epochs} of {the_run('full').config().epochs} epochs" in short[11]


def test_training_error_is_the_evaluated_one_where_the_run_has_it(folder):
    full, short = own_rows(folder, "train error")
    assert full[3] == "1.00 ± 0.00 %" and short[3] == "50.00 %"
    assert "not evaluated" in short[11] and "not evaluated" not in full[11]


def test_a_summary_and_a_config_are_enough(folder):
    for path in (*folder.glob("*/*/metrics.csv"), *folder.glob("*/*/model.keras")):
        path.unlink()
    assert own_rows(folder, "test error")[0][3] == "7.00 ± 1.41 %"
    assert [row[3] for row in own_rows(folder, "train error")] == ["1.00 ± 0.00 %", "not measured"]


def test_where_a_run_was_trained_makes_no_row_of_its_own(folder):
    """Folders of the data and of the checkpoints are each machine's own: 8, 6 and 7 % are 7 % on average, +-1."""
    run = the_run("full", 2)
    elsewhere = {"data_dir": "/on/another/machine", "checkpoint_seconds": 60, "keep_checkpoints": 3}
    write_ended(folder / "elsewhere" / run.name, run.config(**elsewhere), 0.93, train_accuracy=0.99)
    full, _ = own_rows(folder, "test error")
    assert full[3:5] == ["7.00 ± 1.00 %", "3"] and full[10].endswith("--seeds 3 --full`")


def test_the_same_seed_of_two_machines_counts_once(folder):
    run = the_run("full", 1)
    write_ended(folder / "z" / run.name, run.config(data_dir="/on/another/machine"), 0.5, train_accuracy=0.5)
    _, lines = ledger_text(folder)
    assert lines[1:] == [
        f"left out: z/{run.name}: it is the same run, with the same seed, as full/{run.name}, which counts."
    ]
    assert own_rows(folder, "test error")[0][3] == "7.00 ± 1.41 %"


def test_the_papers_deviation_stands_beside_its_number(tmp_path):
    """VAN's table 1 gives `6.35 ± 0.21`, DiracNets' table 2 `4.75 ± 0.16`; no other paper gives one."""
    text, _ = ledger_text(tmp_path)
    assert [row[2] for row in cells(text, "van-26 | test error")] == ["6.35 ± 0.21 %"]
    assert [row[2] for row in cells(text, "DiracNet-28-10 | test error")] == ["4.75 ± 0.16 %", "21.54 ± 0.18 %"]
    assert [row[2] for row in cells(text, "WRN-28-10 | test error")] == ["4.00 %", "19.25 %"]


def test_figures_that_need_no_training_are_computed(tmp_path):
    """Table I: 495,920 parameters with 3 layers, 90,900 more each, so 4,768,220 with 50, where the paper has 4.78 M."""
    text, _ = ledger_text(tmp_path, PAPER)
    rows = cells(section(text, "(`table1`)"), "hidden layers")
    assert [row[2:4] for row in (rows[0], rows[-1])] == [["0.50 M", "0.50 M"], ["4.78 M", "4.77 M"]]
    assert len(rows) == 7 and rows[-1][-1].startswith("the paper's six other counts give 4.77 too")
    assert "`dirac-keras reproduce plainnets --only table1` computes it" in text


def test_only_numbers_of_the_paper_are_counted(tmp_path):
    """PlainNets: 14 in table II, 7 in table I, 2 in table III; `table2-rate`, which is ours, repeats some."""
    assert " 23 figures are numbers of the papers; 7 of them " in ledger_text(tmp_path, PAPER)[0]


def test_state_of_a_figure_counts_the_networks_of_its_data_alone(folder):
    """Fig. 2 and 6 are of COIL-20, Fig. 3 and 8 of USPS, of which one network of three is there; Fig. 4 is of both."""
    text, _ = ledger_text(folder, PAPER)
    states = {row[0].strip("| "): row[-1].strip("| ") for row in cells(text, "| `fig")}
    one = "1 of 3 networks run, 1 at the paper's length"
    assert [states[f"Fig. {name}"] for name in (2, 6, 3, 8, "A1")] == ["not run", "not run", one, one, one]
    assert states["Fig. 4"] == "1 of 6 networks run, 1 at the paper's length"


def test_the_same_files_give_the_same_page_and_another_number_another(folder, tmp_path):
    before, _ = ledger_text(folder)
    assert ledger_text(folder)[0] == before
    run = the_run("full", 1)
    path = folder / "full" / run.name / "summary.json"
    summary = {**json.loads(path.read_text()), "test_accuracy": 0.95}
    del summary["checksum"]
    path.write_text(json.dumps(sealed(summary)))
    after, _ = ledger_text(folder)
    assert after != before and "6.50 ± 2.12 %" in after  # 8 and 5: 6.5, +-1.5


def test_a_digit_that_was_changed_by_hand_is_seen(folder):
    path = folder / "full" / the_run("full").name / "summary.json"
    path.write_text(path.read_text().replace("0.92", "0.95"))
    _, lines = ledger_text(folder)
    assert any("its checksum does not fit" in line for line in lines)
    assert own_rows(folder, "test error")[0][3] == "6.00 %"


def test_every_artefact_is_there_without_any_run(tmp_path):
    text, lines = ledger_text(tmp_path)
    assert lines == ["0 runs, 0 not finished, 0 left out"]
    for paper, artefacts in ARTEFACTS.items():
        own = text.split(f"## {NAMES[paper]}\n")[1]
        for name, shows in artefacts.items():
            assert f"| {name} | {shows} |" in own
    assert f"{sum(map(len, ARTEFACTS.values()))} tables, figures and statements; " in text
    assert "; 7 of them have ours beside them. 0 runs." in text  # those of table I and "| not run |" in text


def test_folders_that_do_not_count_are_named_with_the_reason(folder):
    run = the_run("full")
    there = folder / "full" / run.name
    shutil.copytree(there, folder / "again" / run.name)
    shutil.copytree(there, folder / "unknown-network")
    write_ended(folder / "other" / run.name, run.config(learning_rate=0.5), 0.5)
    (folder / "begun").mkdir()
    shutil.copy(there / "config.json", folder / "begun")
    _, lines = ledger_text(folder)
    said = "\n".join(lines)
    assert lines[0] == "3 runs, 1 not finished, 3 left out"
    assert f"it is the same run, with the same seed, as again/{run.name}, which counts" in said
    assert f"other/{run.name}: it is another run than the entry's (learning_rate=0.5 there" in said
    assert "unknown-network: no entry has a run of this name" in said
    assert [row[3] for row in own_rows(folder, "test error")] == ["7.00 ± 1.41 %", "20.00 %"]


def test_run_of_another_version_is_a_row_of_its_own(folder):
    run = the_run("full", 2)
    write_ended(folder / "old" / run.name, run.config(), 0.5, version="0.0.9")
    rows = own_rows(folder, "test error")
    assert sorted(row[3] for row in rows) == ["20.00 %", "50.00 %", "7.00 ± 1.41 %"]
    assert next(row for row in rows if row[3] == "50.00 %")[8].endswith("dirac_keras 0.0.9")


def test_a_run_of_fewer_epochs_has_the_timetable_of_its_share(tmp_path):
    """`--epochs 20` lets the skips of a VAN go after 65 % of 20 epochs, and its row says 20 of 165."""
    run = next(
        run for run in Selection("full", (0,)).runs(PAPERS["van"]["end"]) if run.name.endswith("van26-end107.25")
    )
    config = run.config(epochs=20)
    assert config.phase_out_end == 13
    write_ended(tmp_path / run.name, config, 0.5)
    text, lines = ledger_text(tmp_path, "van")
    (row,) = cells(section(text, "(`end`)"), "| 50.00 % |")
    assert lines == ["1 run, 0 not finished, 0 left out"] and row[5:7] == ["20", "165"]
    assert row[10].endswith("--full --epochs 20`")


def test_diverged_run_is_said(folder):
    run = the_run("full", 3)
    directory = write_ended(folder / "full" / run.name, run.config(), 0.5)
    directory.summary.unlink()
    (directory.path / "diverged.txt").write_text(f"The loss became nan.\nrun: {directory.record().run}\n")
    assert own_rows(folder, "test error")[0][3:5] == ["7.00 ± 1.41 %", "3, 1 diverged"]


def test_only_a_ledger_is_replaced(folder, tmp_path):
    path = tmp_path / "page.md"
    assert write_ledger(path, folder)[-1] == f"written: {path}"
    write_ledger(path, folder)
    path.write_text("# Notes\n")
    with pytest.raises(ValueError, match="is no ledger, so it is not replaced"):
        write_ledger(path, folder)
    with pytest.raises(ValueError, match="is no folder"):
        write_ledger(tmp_path / "other.md", tmp_path / "absent")
