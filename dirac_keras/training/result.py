"""How a run ends: the model tested and written with its figures, and read again when it is finished."""

import dataclasses
import json
import logging
import time

import keras

from dirac_keras.callbacks.timing import find_limit
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.files.keras_file import load_model, save_model
from dirac_keras.files.tables import read_table
from dirac_keras.training.averaging import refresh_batches, refresh_statistics
from dirac_keras.training.building import untrained_model
from dirac_keras.training.run_directory import RunDirectory

logger = logging.getLogger("dirac_keras")


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


def finish(job, model, history, interruption):
    """Test a model that `fit` is done with; of several workers the first writes it and its figures.

    Args:
        job: `Job`.
        model: trained `keras.Model`.
        history: list of `metrics.csv`'s rows.
        interruption: `Interruption`.

    Returns: `TrainResult`.
    """
    config, splits, run, place = job.config, job.splits, job.run, job.place
    start = time.perf_counter()
    if config.ema_momentum:  # `fit` has put the averages in place of the weights
        refresh_statistics(model, refresh_batches(splits, config.epochs))
    with place.running():
        test = model.evaluate(place.test_data(splits.test()), verbose=0, return_dict=True)
    test_seconds = time.perf_counter() - start
    summary = _summary(model, config, history, test, test_seconds)
    if place.strategy is not None:
        summary |= {"replicas": place.num_replicas, "replica_difference": place.replica_difference(model)}

    def write():
        write_text(run.summary, json.dumps(summary, indent=2) + "\n")
        save_model(model, run.model, metadata={"data": splits.spec.to_dict(), "seed": config.seed}, overwrite=True)

    with interruption.deferred():
        place.on_chief(write)
    return TrainResult(_model_of_result(job, model), history, summary, run)


def _summary(model, config, history, test, test_seconds):
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        **({"test_top5": test["top5"]} if "top5" in test else {}),
        **({"weights": f"averaged, ema_momentum {config.ema_momentum:g}"} if config.ema_momentum else {}),
        "epochs": config.epochs,
        "parameters": int(sum(w.size for w in map(keras.ops.convert_to_numpy, model.trainable_weights))),
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


def _model_of_result(job, model):
    """The trained model without a strategy: the one that was written, or on other workers its copy."""
    if job.place.strategy is None:
        return model
    if job.place.is_chief:
        return load_model(job.run.model)[0]
    copy = untrained_model(job.config, job.splits.spec, job.policy)
    copy.set_weights(model.get_weights())
    return copy


def read_finished(run, place):
    """The `TrainResult` of a run that is finished; on workers but the first it is empty."""
    logger.info("%s holds this run, finished: nothing to train (`overwrite=True` trains it again)", run.path)
    if not place.is_chief:
        return TrainResult(None, [], {}, run)
    model, _ = load_model(run.model)
    try:
        summary = json.loads(run.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"workdir {run.path} holds a finished run whose {run.summary.name} is absent or damaged. "
            f"Remove {run.model.name} there to finish the run again from its last checkpoint, or give `overwrite=True`."
        ) from None
    return TrainResult(model, read_table(run.metrics), summary, run)
