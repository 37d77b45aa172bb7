"""`from_preset`: a network of a paper by name, with weights where there are any."""

import logging
import pathlib

from dirac_keras import models
from dirac_keras.errors import UserError, check_choice, renaming
from dirac_keras.files.keras_file import load_model
from dirac_keras.listing import listed
from dirac_keras.weights.catalogue import find_layouts
from dirac_keras.weights.hub import HUB, cache_folder, local_file
from dirac_keras.weights.importing import check_digest, import_weights
from dirac_keras.weights.preset_list import PRESETS

logger = logging.getLogger("dirac_keras")
_ENDINGS = (".keras", ".pth", ".pt", ".safetensors")  # of a file that has the preset's name


def preset_names():
    """Name -> what it is, of every preset."""
    return {name: preset.text for name, preset in PRESETS.items()}


@renaming(path="weights", file="weights")
def from_preset(name, weights=None, load_weights=None, sha256=None, **arguments):
    """A network by name.

    Args:
        name: str, one of `preset_names()`.
        weights: path of a file with weights of this network, as `from_pretrained` or `keras.Model.save` take and give
            them, or `hf://OWNER/REPOSITORY/FILE`. None: the file of the preset, or one that has its name, in the local
            cache, the folder `$DIRAC_KERAS_WEIGHTS`, else `~/.cache/dirac_keras/weights`.
        load_weights: bool. False: the network is not trained. True: without weights it is an error, which says which
            file to put where. None: weights where there are any, else the log says so.
        sha256: str, what the SHA-256 of the file must begin with; None: that of the preset for a file of the name that
            the preset's has; of another one what its name ends with, as in `import_weights`.
        arguments: of the builder, over the preset's, such as `num_classes` or `input_shape`.

    Returns: `keras.Model`, uncompiled; it gives logits.
    Raises: ValueError: if there is no such preset or file, or the file is not of this network. Nothing is fetched
        unless `weights` begins with `hf://`.
    """
    check_choice("name", name, PRESETS)
    preset = PRESETS[name]
    if load_weights is False:
        if weights is not None:
            raise UserError(f"weights must be None with load_weights=False. Received {str(weights)!r}.")
        return _build(preset, arguments)
    path = local_file(weights) if weights is not None else _cached(name, preset)
    if path is None:
        if load_weights or preset.builder is None:
            raise UserError(f"weights: there are none for {name}. {_where(name, preset)} load_weights=False gives the "
                            "network untrained.")  # fmt: skip
        logger.warning("%s is not trained: %s", name, _where(name, preset))
        return _build(preset, arguments)
    if path.name == preset.file:  # another one, such as a network of one's own, has another checksum
        sha256 = sha256 or preset.sha256
    logger.info("%s: weights from %s", name, path)
    return _filled(name, preset, path, sha256, arguments)


def _build(preset, arguments):
    if preset.builder is None:
        (layout, *_) = find_layouts(preset.architecture)
        shape = arguments.pop("input_shape", (*layout.preprocessing.sides, 3))
        classes = arguments.pop("num_classes", 1000)
        _refuse(arguments)
        return layout.make(classes, shape)
    return getattr(models, preset.builder)(**{**preset.arguments, **arguments})


def _filled(name, preset, path, sha256, arguments):
    if path.suffix == ".keras":
        check_digest(path, sha256)
        return _from_model(name, _build(preset, dict(arguments)), path)
    if preset.architecture is None:
        raise UserError(f"weights: {path} cannot be read for {name}: give a .keras file of this network.")
    shape = arguments.get("input_shape", preset.arguments.get("input_shape"))
    imported = import_weights(path, preset.architecture, input_shape=shape, sha256=sha256)
    model = _build(preset, {"num_classes": imported.metadata["data"]["num_classes"], **arguments})
    return _copied(name, imported.model, model, path)


def _from_model(name, model, path):
    return _copied(name, load_model(path, compiled=False)[0], model, path)


def _copied(name, source, model, path):
    """The model with another's weights. Raises: ValueError: if they are not of the same names and shapes."""
    theirs = {weight.path: weight for weight in source.weights}
    ours = {weight.path: weight for weight in model.weights}
    wrong = sorted({*theirs} ^ {*ours})
    wrong += [
        f"{key} is {tuple(theirs[key].shape)}, must be {tuple(ours[key].shape)}"
        for key in ours
        if key in theirs and tuple(theirs[key].shape) != tuple(ours[key].shape)
    ]
    if wrong:
        raise UserError(
            f"weights: {path} is of another network than {name}: {len(wrong)} weights differ: {listed(wrong, 8)}"
            f"{', ...' if len(wrong) > 8 else ''}."
        )
    for key, weight in ours.items():
        weight.assign(theirs[key])
    return model


def _cached(name, preset):
    """The file of a preset in the local cache, or None."""
    names = ([preset.file] if preset.file else []) + [f"{name}{ending}" for ending in _ENDINGS]
    return next((cache_folder() / one for one in names if (cache_folder() / one).is_file()), None)


def _where(name, preset):
    wanted = pathlib.Path(cache_folder()) / (preset.file or f"{name}.keras")
    published = f" (published at {preset.source})" if preset.file else " (nobody has published any)"
    return f"Put the file{published} at {wanted}, or give its path or {HUB}OWNER/REPOSITORY/FILE as `weights`."


def _refuse(arguments):
    if arguments:
        raise UserError(f"arguments: a folded network takes input_shape and num_classes. Received {sorted(arguments)}.")
