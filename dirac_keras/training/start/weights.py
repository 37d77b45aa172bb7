"""The weights of a model on disk for another model of the same architecture, or all that differs between the two."""

import dataclasses
import json
import logging
import pathlib

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.keras_zip import read_members
from dirac_keras.listing import apart, listed, quoted
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.config_file import read_config_file
from dirac_keras.training.start.layer_patterns import layer_of

logger = logging.getLogger("dirac_keras")
NETWORK = "network"  # the metadata of a `.keras` file that holds the fields of its network, as importers write them
_STARTS = ("kernel_initializer", "filter_scale", "gate_bias")  # decide where weights begin, which is settled here
_SHOWN = 8  # differences of each kind that a message lists


_AS_IT_IS = '`family="file"` trains the network as it stands in the file.'
_GIVE_FIELDS = f"Give the `family`, `depth` and other fields that it was built with; or {_AS_IT_IS}"
_NO_FAMILY = f"The file is an import of a network that is of no family: {_AS_IT_IS}"
NETWORK_FIELDS = [one.name for one in dataclasses.fields(TrainConfig) if one.metadata["group"] == "Model"]


def network_fields(config):
    """The fields of a `TrainConfig` that say which network it is, for the metadata of its file."""
    return {name: getattr(config, name) for name in NETWORK_FIELDS if getattr(config, name) is not None}


def network_of(path):
    """The fields of the network in a run's folder or a `.keras` file, as far as its record says them; else {}.

    Args:
        path: what `start` names.

    Returns: dict, field of `TrainConfig` of the group "Model" -> value.
    """
    path = pathlib.Path(path)
    values = {}
    if path.is_file() and path.suffix == ".keras":
        try:
            values = read_members(path, None)[0].get(NETWORK) or {}
        except UserError:  # said where the model is read
            return {}
    folder = path if path.is_dir() else path.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    record = folder / "config.json"
    if not values and record.exists():
        try:
            values = read_config_file(record)
        except UserError:
            return {}
        if "recipe" not in values:  # no run's: some other program's file
            return {}
    return {name: values[name] for name in NETWORK_FIELDS if values.get(name) is not None}


def weights_from(path, model, spec, config):
    """The weights of a model on disk, for another model of the same architecture.

    The layer of the classes begins anew where their number or their names differ, or where the file has none.

    Args:
        path: of a `.keras` file or a run's folder.
        model: `keras.Model`, the one that is to be trained.
        spec: of its data, with `num_classes` and perhaps `class_names`.
        config: its `TrainConfig`.

    Returns: list of arrays in the order of `model.weights`.
    Raises: UserError: if the architectures differ, with all that does.
    """
    try:
        source, metadata = load_model(path, compiled=False)
    except UserError as error:
        raise UserError(f"start: {str(error).removeprefix('path: ')}") from error
    theirs, ours = _by_layer(source), _by_layer(model)
    head = _head_of(ours)
    lacking = [layer for layer in ours if layer not in theirs]
    more = [layer for layer in theirs if layer not in ours]
    shapes = [name for name in ours if name in theirs and _shapes(ours[name]) != _shapes(theirs[name])]
    new_head = _why_new_head(head, ours, theirs, lacking, shapes, metadata.get("data"), spec)
    is_head = {head} if new_head else set()
    lacking, shapes = ([name for name in names if name not in is_head] for names in (lacking, shapes))
    if lacking or more or shapes:
        said = _difference(path, source, model, (lacking, more, shapes), (ours, theirs), config)
        is_of_no_family = "imported" in metadata and NETWORK not in metadata
        raise UserError(f"{said} {_NO_FAMILY if is_of_no_family else _GIVE_FIELDS}")
    kept = [layer for layer in ours if layer not in is_head]
    logger.info(
        "start: %s, %s with weights%s", path, counted(len(kept), "layer"), _scale_note(metadata.get("data"), spec)
    )
    if new_head:
        logger.info("start: '%s' begins anew: %s", head, new_head)
    elif unknown := _whose_names_are_unknown(metadata.get("data"), spec):
        logger.info(
            "start: '%s' is kept, as its classes are as many; the names of the classes are unknown %s, so they may be "
            "others", head, unknown,
        )  # fmt: skip
    values = []
    for variable in model.weights:
        layer, name = layer_of(variable), variable.name
        values.append(keras.ops.convert_to_numpy(variable if layer in is_head else theirs[layer][name]))
    return values


def _by_layer(model):
    """Layer -> name -> variable."""
    found = {}
    for variable in model.weights:
        found.setdefault(layer_of(variable), {})[variable.name] = variable
    return found


def _head_of(layers):
    """The layer that gives the classes: the last one with weights."""
    return list(layers)[-1]


def _shapes(weights):
    return {name: tuple(variable.shape) for name, variable in weights.items()}


def _why_new_head(head, ours, theirs, lacking, shapes, data, spec):
    """In words, or None if the head's weights are those of the same classes."""
    if head in lacking:
        return "the model has no layer of classes"
    if head in shapes:
        mine, other = _shapes(ours[head]), _shapes(theirs[head])
        same_inputs = mine.keys() == other.keys() and all(mine[name][:-1] == other[name][:-1] for name in mine)
        if not same_inputs:
            return None
        return f"it gives {mine['kernel'][-1]} classes, {other['kernel'][-1]} there"
    names, here = (data or {}).get("class_names"), getattr(spec, "class_names", None)
    if names and here and list(names) != list(here):
        return f"the classes have other names ({apart(names, here)})"
    return None


def _whose_names_are_unknown(data, spec):
    """In words, or None if both sides name their classes."""
    sides = {"there": (data or {}).get("class_names"), "here": getattr(spec, "class_names", None)}
    unknown = [side for side, names in sides.items() if not names and getattr(spec, "task", None) != "values"]
    return " and ".join(unknown) or None


def _scale_note(data, spec):
    """Where the images were scaled otherwise, which the first layer has to learn."""
    there = [(data or {}).get(name) for name in ("mean", "std")]
    here = [getattr(spec, name, None) for name in ("mean", "std")]
    if None in there or None in here or json.dumps(there) == json.dumps([list(one) for one in here]):
        return ""
    return "; its images were scaled by the mean and deviation of another data set"


def _difference(path, source, model, differences, layers, config):
    lacking, more, shapes = differences
    ours, theirs = layers
    parts = []
    there = network_of(path)
    compared = [name for name in there if name not in _STARTS and there[name] != getattr(config, name)]
    fields = [f"{name}={there[name]} there, {getattr(config, name)} here" for name in compared]
    if fields:
        parts.append(f"its network has {'; '.join(fields)}")
    norms = {layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    if norms and norms <= {*lacking}:
        parts.append(
            "it has none of the BatchNormalizations, as a folded model, whose kernels hold them: start from the model "
            "before folding, in the run's folder"
        )
    if lacking:
        parts.append(f"it lacks the layers {quoted(lacking, _SHOWN)}")
    if more:
        parts.append(f"it has the layers {quoted(more, _SHOWN)} too")
    if shapes:
        texts = [f"'{name}' ({_described(theirs[name], ours[name])})" for name in shapes]
        parts.append(f"other weights in {listed(texts, _SHOWN)}")
    return (
        f"start must be a model of the same architecture as '{model.name}', but for its classes. Received {path}, "
        f"'{source.name}': {'; '.join(parts)}."
    )


def _described(theirs, ours):
    there, here = _shapes(theirs), _shapes(ours)
    texts = [
        f"{name} {there.get(name, 'absent')} there, {here.get(name, 'absent')} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    return "; ".join(texts)
