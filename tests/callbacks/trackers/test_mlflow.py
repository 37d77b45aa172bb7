"""MLflow with a database in a folder."""

import pytest

from dirac_keras.callbacks.trackers import TrackedRun, open_tracking
from dirac_keras.errors import UserError

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
# MLflow 3.17 asks SQLAlchemy 2.1 for what it deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
RUN = TrackedRun("one", "0123456789abcdef", {f"field{number}": number for number in range(120)} | {"start": None})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("mlflow")
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'm.db'}")
        yield


def train(epochs, summary, status, run=RUN):
    tracked = open_tracking("mlflow")
    tracked.start(run)
    for epoch in epochs:
        tracked.log(epoch, {"loss": 1 / epoch})
    tracked.finish(summary, status)


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_one(place):
    from mlflow.tracking import MlflowClient

    train([1, 2], {}, "interrupted")
    client = MlflowClient()
    [experiment] = [one for one in client.search_experiments() if one.name == "dirac-keras"]
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED" and run.data.params["field119"] == "119" and len(run.data.params) == 121
    train([3], {"test_accuracy": 0.75, "limited_by": "compute"}, "finished")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "one" and run.info.status == "FINISHED"
    assert [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 1.0), (2, 0.5), (3, 1 / 3),
    ]  # fmt: skip
    assert run.data.metrics["test_accuracy"] == 0.75
    assert run.data.tags["limited_by"] == "compute" and run.data.tags["status"] == "finished"


@pytest.mark.slow
def test_another_run_of_the_same_name_is_another(place):
    from mlflow.tracking import MlflowClient

    train([1], {}, "finished", TrackedRun("one", "fedcba9876543210", {"a": 1}))
    client = MlflowClient()
    [experiment] = [one for one in client.search_experiments() if one.name == "dirac-keras"]
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id]) if run.data.params.get("a")]
    assert names == ["one"]


def test_a_server_that_is_not_there_is_an_error_at_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"mlflow cannot begin: .*Start the server that MLFLOW_TRACKING_URI names"):
        open_tracking("mlflow").start(RUN)
