"""A training in its trackers: begun with the run's identifier, closed with its figures or the reason that it ended.

A loss that is no number is also said in the run's folder, for lists of runs.
"""

import contextlib

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.callbacks.trackers import TrackedRun
from dirac_keras.callbacks.trackers.tracker import DIVERGED, FAILED, FINISHED, INTERRUPTED
from dirac_keras.training.folder.endings import forget_divergence, record_divergence
from dirac_keras.training.stepping.interruption import TrainingInterrupted

_FACTS = ("machine", "device", "commit", "backend", "precision_used", "started")


@contextlib.contextmanager
def tracked(job, epochs_done):
    """Within, the trackers of a training have begun; for a `with` statement.

    Args:
        job: `Job`, whose folder is there; its `tracking` is empty on workers but the first.
        epochs_done: int, epochs that are finished where it begins.

    Yields: dict; what it holds at the end are the final figures.
    """
    summary = {}
    job.place.on_chief(lambda: _begin(job, epochs_done))  # whose error ends all workers
    status = FAILED
    try:
        yield summary
        status = FINISHED
    except (TrainingInterrupted, KeyboardInterrupt):
        status = INTERRUPTED
        raise
    except TrainingDiverged as error:
        status = DIVERGED
        if job.place.is_chief:
            record_divergence(job.run, error)
        raise
    finally:
        job.tracking.finish(summary, status)


def _begin(job, epochs_done):
    forget_divergence(job.run)
    if job.tracking:
        job.tracking.start(_describe(job, epochs_done))


def _describe(job, epochs_done):
    record = job.run.record()
    facts = {name: getattr(record, name) for name in _FACTS}
    config = {**job.config.to_dict(), **facts, "dirac_keras": record.versions.get("dirac_keras"), "run": record.run}
    config["data_spec"] = {name: job.splits.spec.to_dict().get(name) for name in ("image_shape", "num_classes")}
    return TrackedRun(job.run.path.absolute().name, record.run, config, epochs_done)
