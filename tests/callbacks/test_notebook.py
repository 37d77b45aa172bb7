"""The live view of a notebook, on a display that notes what it is given."""

import sys
import types
import xml.etree.ElementTree as ET

import pytest

from dirac_keras.callbacks import notebook
from dirac_keras.callbacks.progress import EpochClock, ProgressReport, compiling_seconds, duration_text


class Display:
    """One output of a cell."""

    def __init__(self):
        self.shown, self.opened = [], 0

    def __call__(self, text, display_id=False):
        assert display_id is True
        self.opened += 1
        self.shown.append(text)
        return types.SimpleNamespace(update=self.shown.append)


@pytest.fixture
def display(monkeypatch):
    """A notebook's IPython."""
    display = Display()
    inner = types.ModuleType("IPython.display")
    inner.HTML, inner.display = str, display
    outer = types.ModuleType("IPython")
    outer.display, outer.get_ipython = inner, lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", outer)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return display


def logs(epoch):
    return {"loss": 1 / epoch, "accuracy": epoch / 10, "val_loss": 2 / epoch, "val_accuracy": epoch / 20,
            "learning_rate": 0.1, "seconds": 1.0}  # fmt: skip


def train(report, epochs, steps=4):
    for epoch in range(epochs):
        report.on_epoch_begin(epoch)
        for step in range(steps):
            report.on_train_batch_end(step, {"loss": 0.5})
        report.on_epoch_end(epoch, logs(epoch + 1))
    report.on_train_end()
    report.close()


def test_one_output_is_drawn_anew(display, monkeypatch):
    monkeypatch.setattr(notebook, "SECONDS", 0.0)
    report = notebook.open_report(3, 4)
    assert isinstance(report, notebook.NotebookReport)
    train(report, 3)
    assert display.opened == 1 and len(display.shown) == 3 * (1 + 4 + 1)
    assert "epoch 1 of 3" in display.shown[0] and "loss 0.5000" in display.shown[1]
    assert " left" in display.shown[6] and " left" not in display.shown[-1]
    last = ET.fromstring(display.shown[-1].replace("<br>", "<br/>"))
    assert [cell.text for cell in last.findall(".//tr/td")][:5] == ["1", "1.0000", "0.1000", "2.0000", "0.0500"]
    assert last.find("progress").attrib["value"] == "3.0000"
    assert len(last.findall(".//polyline")) == 4  # loss and accuracy, each in training and held out
    assert "<script" not in display.shown[-1]


def test_within_an_epoch_it_is_not_drawn_at_every_step(display):
    train(notebook.NotebookReport(2, 1000), 2, steps=1000)
    assert len(display.shown) < 20


def test_a_curve_of_values_that_are_no_numbers_has_the_others():
    rows = [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": 1.0}, {"epoch": 3, "loss": 0.5}]
    text = notebook.page(rows, 3, 2, 1.0, "")
    assert text.count(",") >= 2 and "nan," not in text.split("<polyline")[1].split("/>")[0]


def test_after_one_epoch_the_curves_are_dots():
    text = notebook.page([{"epoch": 1, "loss": 2.0, "val_loss": 3.0}], 3, 0, 1.0, "")
    lines = ET.fromstring(text.replace("<br>", "<br/>")).findall(".//polyline")
    assert [line.attrib["points"] for line in lines] == ["8.0,112.0 8.0,112.0", "8.0,8.0 8.0,8.0"]
    assert {line.attrib["stroke-linecap"] for line in lines} == {"round"}


def test_a_training_that_stops_early_has_no_time_left(display):
    report = notebook.NotebookReport(3, 4)
    report.on_epoch_begin(0)
    report.on_epoch_end(0, logs(1))
    report.on_epoch_begin(1)
    report.on_train_batch_end(1, {"loss": 0.5})
    assert " left" in display.shown[-1]
    report.close()  # after an interruption
    assert "stopped in epoch 2 of 3" in display.shown[-1] and " left" not in display.shown[-1]
    assert 'value="1.5000"' in display.shown[-1]
    report.on_epoch_end(1, logs(2))
    report.close()  # by early stopping
    assert "stopped after epoch 2 of 3" in display.shown[-1] and " left" not in display.shown[-1]


def test_a_resumed_run_says_after_which_step(display):
    report = notebook.open_report(3, 4, resumed_after=6)
    report.on_epoch_begin(1)
    assert "epoch 2 of 3, resumed after step 6" in display.shown[-1]


def test_a_report_that_was_never_shown_shows_nothing_at_its_end(display):
    notebook.NotebookReport(3, 4).close()
    assert not display.opened


def test_a_resumed_run_has_the_epochs_before(display):
    report = notebook.open_report(3, 4, rows=[{"epoch": 1, **logs(1)}])
    report.on_epoch_begin(1)
    report.on_epoch_end(1, logs(2))
    last = ET.fromstring(display.shown[-1].replace("<br>", "<br/>"))
    assert [row.find("td").text for row in last.findall(".//tr")[1:]] == ["1", "2"]


def test_elsewhere_it_is_a_terminals_report(display, monkeypatch):
    from rich.console import Console

    assert isinstance(notebook.open_report(1, 1, Console()), ProgressReport)
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())  # ipython in a terminal
    assert isinstance(notebook.open_report(1, 1), ProgressReport)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(notebook.open_report(1, 1), ProgressReport)


def test_the_line_of_an_epoch_says_the_time_left_of_the_training():
    import io

    from rich.console import Console

    out = io.StringIO()
    report = ProgressReport(2, 1, Console(file=out, width=160))
    for epoch in range(2):
        report.on_epoch_begin(epoch)
        report.on_epoch_end(epoch, {**logs(epoch + 1), "images_per_second": 10.0})
    first, last = out.getvalue().splitlines()
    assert first.startswith("epoch 1/2  loss 1.0000") and first.endswith("0 s left")
    assert "left" not in last


def test_the_first_epoch_which_compiles_counts_only_while_it_is_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = EpochClock(5)
    assert clock.begin(0) == ""
    now[0] = 100.0
    assert clock.end(0) == "6 min 40 s"  # 4 of 100 s
    clock.begin(1)
    now[0] = 110.0
    assert clock.end(1) == "30 s"  # 3 of 10 s
    assert clock.begin(2) == "30 s"


def test_what_the_first_step_took_to_compile_is_not_in_the_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = EpochClock(5)
    clock.begin(0)
    now[0] = 100.0  # 90 s of training, of which 8 steps of 0.5 s, and 10 s of validation
    compiling = compiling_seconds({"seconds": 90.0, "step_milliseconds": 500.0}, 8)
    assert compiling == 86.0
    assert clock.end(0, compiling) == "56 s"  # 4 of 14 s
    clock.begin(1)
    now[0] = 120.0  # 20 s, in which a checkpoint was written too
    assert clock.end(1, 5.0) == "1 min 00 s"  # 3 of 20 s
    assert compiling_seconds({"seconds": 90.0}, 8) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (11400, "3 h 10 min")]
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
