"""A notebook in a kernel of Jupyter: what its cells show of a training, a figure and a page."""

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TRAIN = """
from dirac_keras.training import TrainConfig, train
from pipelines import load_splits
config = TrainConfig(data="digits", family="plainnet", layout="dense", depth=2, units=8, recipe="plainnet", epochs=2,
                     max_train=256, max_test=64)
splits = load_splits(**config.data_arguments())
result = train(config, splits, "run")
"""
INTERRUPTED = """
import os, signal, keras
class Interrupt(keras.callbacks.Callback):
    batches = 0
    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == 3:  # of two an epoch
            os.kill(os.getpid(), signal.SIGINT)  # what "Interrupt the kernel" sends
train(config, splits, "again", callbacks=[Interrupt()])
"""
RESUMED = """
again = train(config, splits, "again")
sum(float(abs(one - other).sum()) for one, other in zip(again.model.get_weights(), result.model.get_weights()))
"""
MEASURE = """
from dirac_keras.diagnostics import measure, plot_depth
plot_depth(measure(result.model, splits.train_in_order(64), "spectrum"), "effective_rank")
"""
REPORT = """
from dirac_keras.evaluation.page import make_page
from dirac_keras.evaluation.report import make_report
from dirac_keras.evaluation.subject import Subject
make_page(make_report(Subject("mine", result.model, splits.spec.to_dict(), splits)))
"""


def executed(notebook, folder, **options):
    """The outputs of the cells that are no text; raises what a cell raises."""
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}, **options)
    client.execute()
    return [[one for one in cell.outputs if one.output_type != "stream"] for cell in notebook.cells]


@pytest.mark.slow
def test_cells_show_the_training_a_figure_and_a_page(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in ("import dirac_keras", TRAIN, MEASURE, REPORT)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    _, training, figure, page = executed(notebook, tmp_path)
    assert len(training) == 1 and training[0].data["text/html"].count("<tr>") == 3  # one output, drawn anew
    assert "epoch 2 of 2" in training[0].data["text/html"] and " left" not in training[0].data["text/html"]
    assert set(figure[0].data) >= {"image/png"}
    assert page[0].data["text/html"].startswith("<iframe")
    words = "".join(one.text for cell in notebook.cells for one in cell.outputs if one.output_type == "stream")
    assert "\r" not in words and "Traceback" not in words and "UserWarning" not in words


@pytest.mark.slow
def test_an_interrupted_cell_says_so_and_the_next_one_resumes(tmp_path):
    """Two steps an epoch, interrupted after the third: the state is saved, and the weights end up the same."""
    cells = [nbformat.v4.new_code_cell(source) for source in (TRAIN, INTERRUPTED, RESUMED)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    whole, interrupted, resumed = executed(notebook, tmp_path, allow_errors=True)
    assert [one.output_type for one in whole] == ["display_data"] and "resumed" not in whole[0].data["text/html"]
    assert [one.output_type for one in interrupted] == ["display_data", "error"], interrupted
    shown, error = interrupted
    assert "stopped in epoch 2 of 2" in shown.data["text/html"] and " left" not in shown.data["text/html"]
    assert shown.data["text/html"].count("<tr>") == 2  # the heading and the epoch that ended
    assert error.ename == "TrainingInterrupted" and "after step 3 of 4, which is saved: train again" in error.evalue
    shown, differences = resumed
    assert "epoch 2 of 2, resumed after step 3" in shown.data["text/html"]
    assert shown.data["text/html"].count("<tr>") == 3 and "stopped" not in shown.data["text/html"]
    assert differences.data["text/plain"] == "0.0"
