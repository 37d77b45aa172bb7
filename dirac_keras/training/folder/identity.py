"""Whether a state is of the run in whose folder it lies."""

from dirac_keras.errors import UserError
from dirac_keras.training.folder.checkpoints import ForeignCheckpoint


def check_checkpoint(job, path, record, model):
    """Raise ForeignCheckpoint unless a checkpoint is of this run.

    Runs and checkpoints of 0.1.0 or before have no identifier; then their networks must be alike.

    Args:
        job: `Job`.
        path: `pathlib.Path` of the checkpoint.
        record: `ModelRecord` of its metadata.
        model: `keras.Model`.
    """
    way_out = "Move it elsewhere to resume from the one before it, or give another `workdir`."
    ours = job.run.record().run if job.run.config.exists() else None
    is_unsigned = record.run is None and (ours is None or path.name.startswith("epoch-"))
    if record.run != ours and not is_unsigned:
        raise ForeignCheckpoint(
            f"checkpoint {path} is of another run ({_name(record.run)}, not {_name(ours)}). {way_out}"
        )
    if is_unsigned and (difference := _other_network(job, model)):
        raise ForeignCheckpoint(f"checkpoint {path} is of another run: {difference}. {way_out}")


def check_model(job, path, record, model):
    """Raise UserError unless the model of a finished run is that run's: as `check_checkpoint`."""
    way_out = "Move it elsewhere to finish the run from its last checkpoint, or give another `workdir`."
    ours = job.run.record().run
    if record.run != ours:
        raise UserError(f"path: {path} is of another run ({_name(record.run)}, not {_name(ours)}). {way_out}")
    if record.position is not None:
        raise UserError(f"path: {path} is a checkpoint within the run, not its end. {way_out}")
    if ours is None and (difference := _other_network(job, model)):
        raise UserError(f"path: {path} is of another run: {difference}. {way_out}")


def _name(run):
    return "one without an identifier" if run is None else run


def _other_network(job, model):
    """How the weights of a model differ from those of this run's network; empty if they do not."""
    expected = [tuple(w.shape) for w in job.untrained_model().weights]
    found = [tuple(w.shape) for w in model.weights]
    if expected == found:
        return ""
    if len(expected) != len(found):
        return f"it has {len(found)} weights, this network {len(expected)}"
    place = next(index for index, shapes in enumerate(zip(expected, found, strict=True)) if shapes[0] != shapes[1])
    return f"its weight {model.weights[place].path} has shape {found[place]}, not {expected[place]}"
