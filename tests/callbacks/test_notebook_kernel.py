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


@pytest.mark.slow
def test_cells_show_the_training_a_figure_and_a_page(tmp_path):
    cells = [nbformat.v4.new_code_cell(source) for source in ("import dirac_keras", TRAIN, MEASURE, REPORT)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises what a cell raises
    _, training, figure, page = (
        [one for one in cell.outputs if one.output_type != "stream"] for cell in notebook.cells
    )
    assert len(training) == 1 and training[0].data["text/html"].count("<tr>") == 3  # one output, drawn anew
    assert "epoch 2 of 2" in training[0].data["text/html"] and " left" not in training[0].data["text/html"]
    assert set(figure[0].data) >= {"image/png"}
    assert page[0].data["text/html"].startswith("<iframe")
    words = "".join(one.text for cell in notebook.cells for one in cell.outputs if one.output_type == "stream")
    assert "\r" not in words and "Traceback" not in words and "UserWarning" not in words
