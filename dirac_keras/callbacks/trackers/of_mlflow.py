"""MLflow: a server, a database or a folder, as `$MLFLOW_TRACKING_URI` says; by default `./mlflow.db`."""

import logging
import os
import time

from dirac_keras.callbacks.trackers.tracker import FINISHED, INTERRUPTED, PROJECT, Tracker, numbers_of, setting
from dirac_keras.errors import UserError, missing_extra

IDENTITY = "dirac_keras.run"  # tag with the run's identifier, by which a resumed run is found
MOST_PARAMS = 100  # in one call
LONGEST = 6000  # characters of a parameter
# Of a server that is not there: MLflow's own are two minutes, seven times.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class MlflowTracker(Tracker):
    """A run of MLflow, in the experiment of `$MLFLOW_EXPERIMENT_NAME`."""

    name = "mlflow"
    way_out = (
        "Start the server that MLFLOW_TRACKING_URI names, set it to a file (sqlite:///mlflow.db), or leave `tracker` "
        "out."
    )

    def check(self):
        for variable, value in PATIENCE.items():
            os.environ.setdefault(variable, value)
        try:
            import mlflow.tracking
        except ImportError as error:
            raise missing_extra("tracker mlflow", "mlflow", "mlflow") from error
        for speaker in ("mlflow", "alembic"):  # which tell of the tables that they make
            logging.getLogger(speaker).setLevel(logging.WARNING)
        self._where = mlflow.tracking.get_tracking_uri()
        if self._where.startswith(("sqlite:", "postgresql:", "mysql:", "mssql:")):
            try:
                import alembic  # noqa: F401
                import sqlalchemy  # noqa: F401
            except ImportError as error:
                raise missing_extra(f"tracker mlflow with {self._where}", error.name, "mlflow") from error

    def start(self, run):
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self._where)
        experiment = setting("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise UserError(
                f"tracker: mlflow: the experiment {experiment} has been deleted. Restore it, or set "
                "MLFLOW_EXPERIMENT_NAME to another name."
            )
        number = self._client.create_experiment(experiment) if found is None else found.experiment_id
        same = self._client.search_runs([number], filter_string=f"tags.`{IDENTITY}` = '{run.identity}'")
        if same:
            self._run = same[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            created = self._client.create_run(number, run_name=run.name, tags={IDENTITY: run.identity})
            self._run = created.info.run_id
            params = [Param(name, str(value)[:LONGEST]) for name, value in run.config.items()]
            for first in range(0, len(params), MOST_PARAMS):
                self._client.log_batch(self._run, params=params[first : first + MOST_PARAMS])
        return f"run {run.name} ({self._run}) of the experiment {experiment} in {self._where}"

    def log(self, epoch, figures):
        self._write(figures, epoch)

    def finish(self, epoch, summary, status):
        numbers = numbers_of(summary)
        self._write(numbers, epoch)
        words = {name: str(value)[:LONGEST] for name, value in summary.items() if name not in numbers}
        for name, value in {**words, "status": status}.items():
            self._client.set_tag(self._run, name, value)
        ended = {FINISHED: "FINISHED", INTERRUPTED: "KILLED"}.get(status, "FAILED")
        self._client.set_terminated(self._run, ended)

    def _write(self, figures, step):
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in figures.items()])


def make():
    return MlflowTracker()
