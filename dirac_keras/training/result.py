"""How a run ends: the model tested and written with its figures, and read again when it is finished."""

import dataclasses
import json
import logging
import time

import keras

from dirac_keras.brief import brief
from dirac_keras.callbacks.timing import find_limit
from dirac_keras.deployment.evaluation import accuracy_of_views, outputs_and_labels
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.files.records import convert_record, read_sealed, sealed
from dirac_keras.files.tables import read_table
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.identity import check_model
from dirac_keras.training.folder.records import ModelRecord, SummaryRecord
from dirac_keras.training.optimization.averaging import refresh_batches, refresh_statistics
from dirac_keras.training.start.freezing import all_trainable
from dirac_keras.training.start.weights import NETWORK, network_fields
from dirac_keras.training.tasks import CLASSES, exact_figures, task_of
from dirac_keras.training.training_error import training_figures

logger = logging.getLogger("dirac_keras")


@brief
@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run gave.

    Attributes:
        model: the trained `keras.Model`.
        history: list of `metrics.csv`'s rows.
        summary: dict of the final figures, as in `summary.json`.
        run: `RunDirectory`.
    """

    model: keras.Model
    history: list
    summary: dict
    run: RunDirectory


def finish(job, model, history, interruption, kept=None):
    """Test a model that `fit` is done with; of several workers the first writes it and its figures.

    Args:
        job: `Job`.
        model: trained `keras.Model`.
        history: list of `metrics.csv`'s rows.
        interruption: `Interruption`.
        kept: dict, what the summary says of an epoch whose weights were kept, see `best.take_best`.

    Returns: `TrainResult`.
    """
    config, splits, run, place = job.config, job.splits, job.run, job.place
    start = time.perf_counter()
    if config.ema_momentum and not config.keep_best:  # `fit` has put the averages in place of the weights
        refresh_statistics(model, refresh_batches(splits, config.epochs))
    with place.running():
        test = model.evaluate(place.test_data(splits.test()), verbose=0, return_dict=True)
    test_seconds = time.perf_counter() - start
    summary = _summary(model, config, history, test, test_seconds) | (kept or {}) | _views_summary(job, model)
    summary |= _exact_summary(job, model)
    summary |= training_figures(model, splits, job.evaluate_train, place)
    if place.strategy is not None:
        summary |= {"replicas": place.num_replicas, "replica_difference": place.replica_difference(model)}

    def write():
        metadata = {"data": splits.spec.to_dict(), "seed": config.seed, NETWORK: network_fields(config)}
        write_results(run, model, summary, metadata)

    with interruption.deferred():
        place.on_chief(write)
    return TrainResult(_model_of_result(job, model), history, summary, run)


def write_results(run, model, summary, metadata):
    """Write the model of a run that is finished, and its figures before it, bound to the run.

    Args:
        run: `RunDirectory`.
        model: `keras.Model`.
        summary: dict of the final figures.
        metadata: dict for the model's file.
    """
    identity = run.record().run
    record = sealed({**summary, "run": identity, "tables": run_tables.digests(run.path)})
    write_text(run.summary, json.dumps(record, indent=2) + "\n")
    save_model(model, run.model, metadata={**metadata, "run": identity}, overwrite=True, checksum=True)


def _summary(model, config, history, test, test_seconds):
    summary = {
        **{f"test_{name}": value for name, value in sorted(test.items())},
        **({"weights": f"averaged, ema_momentum {config.ema_momentum:g}"} if config.ema_momentum else {}),
        "epochs": config.epochs,
        "parameters": _parameters(model),
        "test_seconds": test_seconds,
    }
    if not history:  # the first worker's
        return summary
    return {
        **summary,
        "train_seconds": sum(row["seconds"] for row in history),
        "median_images_per_second": sorted(row["images_per_second"] for row in history)[len(history) // 2],
        **find_limit(history),
    }


def _parameters(model):
    """Weights without statistics, those of frozen layers among them."""
    with all_trainable(model):
        return int(sum(w.size for w in map(keras.ops.convert_to_numpy, model.trainable_weights)))


def _views_summary(job, model):
    """The accuracy over several views of each test image where the config asks for it, of the first worker."""
    name = job.config.test_time_augmentation
    if name == "none" or not job.place.is_chief:
        return {}
    alone = model if job.place.strategy is None else _copy_without_strategy(job, model)
    with job.place.aside():
        accuracy = accuracy_of_views(alone, job.splits.test(), name)
    return {"test_time_augmentation": name, "test_accuracy_of_views": accuracy}


def _exact_summary(job, model):
    """What only all test images together say of labels and values, of the first worker; empty for classes."""
    spec, place = job.splits.spec, job.place
    if task_of(spec) == CLASSES or not place.is_chief:
        return {}
    alone = model if place.strategy is None else _copy_without_strategy(job, model)
    with place.aside():
        outputs, truth = outputs_and_labels(alone, job.splits.test())
    return exact_figures(task_of(spec), outputs, truth, spec.class_names)


def _model_of_result(job, model):
    """The trained model without a strategy: the one that was written, or on other workers its copy."""
    if job.place.strategy is None:
        return model
    if job.place.is_chief:
        return load_model(job.run.model)[0]
    return _copy_without_strategy(job, model)


def _copy_without_strategy(job, model):
    copy = job.untrained_model()
    copy.set_weights(model.get_weights())
    return copy


def read_finished(job):
    """The `TrainResult` of a run that is finished; on workers but the first it is empty."""
    run = job.run
    logger.info("%s holds this run, finished: nothing to train (`overwrite=True` trains it again)", run.path)
    if not job.place.is_chief:
        return TrainResult(None, [], {}, run)
    model, metadata = load_model(run.model)
    record = convert_record(metadata, ModelRecord, f"path: {run.model}", "the model of a run", _finish_again(run))
    check_model(job, run.model, record, model)
    return TrainResult(model, *read_figures(run), run)


def read_figures(run):
    """Rows of `metrics.csv` and the final figures of a run that is finished.

    Args:
        run: `RunDirectory`.

    Raises: ValueError: if a file is absent, damaged, or not this run's.
    """
    what = f"{run.summary.name} of a finished run"
    try:
        record, summary = read_sealed(run.summary, SummaryRecord, what, _finish_again(run))
    except UserError as error:
        absent = f"workdir {run.path} holds a finished run whose {run.summary.name} is absent or damaged"
        raise UserError(f"{absent}: {error}") from None
    if run.config.exists() and record.run != run.record().run:
        raise UserError(f"path: {run.summary} is another run's. {_finish_again(run)}")
    found = run_tables.digests(run.path)
    changed = [name for name, digest in (record.tables or {}).items() if found.get(name) != digest]
    if changed:
        raise UserError(f"path: {run.path / changed[0]} has changed since the run was finished. {_finish_again(run)}")
    rows = read_table(run.metrics, "epoch")
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or not rows:
        raise UserError(f"path: {run.metrics} does not hold the epochs of a finished run. {_finish_again(run)}")
    figures = {name: value for name, value in summary.items() if name not in ("run", "tables")}
    return rows, figures


def _finish_again(run):
    return f"Remove {run.model.name} there to finish the run again from its last checkpoint, or give `overwrite=True`."
