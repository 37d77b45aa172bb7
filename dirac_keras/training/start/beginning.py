"""What a training starts from: another model's weights, or training images; else from random weights."""

import logging
import pathlib

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.checksum import file_digest
from dirac_keras.files.keras_file import model_file
from dirac_keras.models.family import is_of_file
from dirac_keras.training.building import layers_from_data, start_from_data, untrained_model
from dirac_keras.training.given import read_network, weights_of_file
from dirac_keras.training.start.weights import weights_from

logger = logging.getLogger("dirac_keras")


def check_start(config):
    """Raise UserError if a config that is for fine-tuning says of no weights to start from."""
    if is_of_file(config) and config.start is None:
        raise UserError(
            "family=file is the network of the file in `start`, which is not given. Give `start`, or another `family`."
        )
    if config.start_input is not None and not is_of_file(config):
        raise UserError(
            "start_input is for a network as it stands in the file of `start`, family=file; others are fed with the "
            f"images of their data set. Received start_input={config.start_input!r} with family={config.family}: leave "
            "it out."
        )
    if config.recipe == "finetune" and config.start is None:
        raise UserError(
            "recipe=finetune trains weights that are there. Give `start`, the folder of a run or a .keras file; from "
            "random weights take another `recipe`."
        )


def digest_of(path):
    """SHA-256 of the model that `start` names, as hexadecimal digits; None if there is none any more."""
    try:
        return file_digest(model_file(pathlib.Path(path)))
    except (UserError, OSError):
        return None


def start_record(config):
    """What the record of a run keeps of its start."""
    return {} if config.start is None else {"start_sha256": digest_of(config.start)}


def check_same_start(folder, config, recorded):
    """Raise UserError if the model that a run started from has changed since.

    Args:
        folder: path of the run.
        config: `TrainConfig`.
        recorded: SHA-256 in the run's record, or None.
    """
    if config.start is None or recorded is None:
        return
    found = digest_of(config.start)
    if found not in (None, recorded):  # an absent one is no longer needed
        raise UserError(
            f"workdir {folder} holds a run that started from another model: {config.start} has changed since. Restore "
            "it, give another `workdir`, or `overwrite=True` to delete that run."
        )


def check_startable(model, config, spec, workdir):
    """Raise UserError if a run cannot start from `config.start`, or would delete it.

    Args:
        model: untrained `keras.Model` of the config.
        config: `TrainConfig`.
        spec: of its data.
        workdir: `pathlib.Path` of the folder that is to be emptied.
    """
    if config.start is None:
        return
    if model_file(pathlib.Path(config.start)).resolve().is_relative_to(workdir.resolve()):
        raise UserError(
            f"start must lie outside workdir {workdir}, whose run is deleted. Received start={config.start!r}: give "
            "another `workdir`."
        )
    if not is_of_file(config):  # else the model is that of the file already
        weights_from(config.start, model, spec, config)


def at_first_step(run, splits, policy):
    """The network of a run before its first step, with the weights that the run began with.

    A network of no family is the one that the run keeps. The weights of a start file are read again; if the file is
    gone or has changed, they are random, which is logged.

    Args:
        run: `RunDirectory`.
        splits: its data.
        policy: str, Keras' dtype policy.
    """
    config = run.read_config()
    model = untrained_model(config, splits.spec, policy, read_network(run.network))
    if config.start is not None and digest_of(config.start) != run.record().start_sha256:
        logger.warning(
            "%s, whose weights the run in %s started from, is gone or has changed: this is the same network with "
            "random weights. Put the file back for those that it began with.",
            config.start,
            run.path,
        )
        return model
    begin(model, config, splits)
    return model


def begin(model, config, splits, place=None):
    """Give a model the weights that its training starts from, where they are not random.

    Args:
        model: `keras.Model` as its builder left it, compiled or not.
        config: `TrainConfig`.
        splits: data, see `train`.
        place: `Placement`, of whose workers the first reads files and data; None: one device.
    """
    if config.start is not None:
        found = [None]

        def read():
            if is_of_file(config):
                found[0] = weights_of_file(config, splits.spec, model)
            else:
                found[0] = weights_from(config.start, model, splits.spec, config)

        read() if place is None else place.on_chief(read)
        values = found[0] or [keras.ops.convert_to_numpy(variable) for variable in model.weights]
        variables = model.weights
    elif layers_from_data(model):
        start_from_data(model, splits)
        variables = [variable for layer in layers_from_data(model) for variable in layer.weights]
        values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    else:
        return
    for variable, value in zip(variables, values if place is None else place.from_chief(values), strict=True):
        variable.assign(value)
