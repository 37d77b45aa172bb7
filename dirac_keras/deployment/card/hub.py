"""`config.json` and `model.safetensors`: a network as hubs keep it, rebuilt from these two alone.

The configuration has the keys of timm's `pretrained_cfg` (channels first, mean and deviation in units of 0 to 1) and,
under `keras`, the network's own configuration. A folded network has Keras' layers alone, so it is rebuilt without this
package.
"""

import json
import pathlib

import keras
import numpy as np

from dirac_keras.deployment.card.writing import label_lines
from dirac_keras.deployment.public_name import public_name
from dirac_keras.errors import UserError, missing_extra
from dirac_keras.files.atomic import atomic_path, write_text
from dirac_keras.version import __version__

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


def write_hub_files(folder, model, metadata, facts=None):
    """Write `config.json` and `model.safetensors` of a network to a folder.

    Args:
        folder: that is there.
        model: built `keras.Model`, functional or Sequential.
        metadata: dict of its file.
        facts: `CardFacts`, or None.

    Raises: MissingExtra: without safetensors. ValueError: if the model has no configuration.
    """
    numpy = _safetensors()
    folder = pathlib.Path(folder)
    write_text(folder / CONFIG_FILE, json.dumps(hub_config(model, metadata, facts), indent=2) + "\n")
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        numpy.save_file(_tensors(model), temporary, metadata={"format": "keras"})


def hub_config(model, metadata, facts=None):
    """The configuration as a JSON-safe dict; arguments as in `write_hub_files`."""
    try:
        structure = json.loads(model.to_json())
    except (NotImplementedError, TypeError) as error:
        raise UserError(f"model {model.name} has no configuration to write: {error}.") from None
    data, run = (metadata or {}).get("data") or {}, (facts.config if facts else None) or {}
    config = {"architecture": run.get("family") or model.name, "num_classes": data.get("num_classes")}
    names = label_lines(metadata, model)
    if names:
        config["label_names"] = names
    if run:
        fields = ("layout", "depth", "width", "units", "parameterization")
        config["model_args"] = {name: run[name] for name in fields if run.get(name) is not None}
    if data:
        config["pretrained_cfg"] = _pretrained(data, facts)
    config["keras"] = {"version": keras.__version__, "dirac_keras": __version__, "model": structure}
    return config


def _pretrained(data, facts):
    height, width, channels = data["image_shape"]
    resize = data.get("resize")
    found = {
        "tag": public_name(data.get("name")),
        "input_size": [channels, height, width],
        "fixed_input_size": True,
        "interpolation": "bilinear",
        # Of the scaled image's shorter side; without a crop the image is scaled to the size itself.
        "crop_pct": 1.0 if resize is None else max(height, width) / resize,
        "crop_mode": "center" if resize else "squash",
        "mean": [value / 255.0 for value in data["mean"]],
        "std": [value / 255.0 for value in data["std"]],
        "num_classes": data["num_classes"],
    }
    return found | ({"license": facts.license} if facts and facts.license else {})


def load_hub_folder(folder):
    """The network in a folder of `write_hub_files`.

    Returns: `(model, config)`.
    Raises: ValueError: if a file is absent or damaged, or they do not fit each other. MissingExtra: without
        safetensors.
    """
    numpy = _safetensors()
    folder = pathlib.Path(folder)
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        model = keras.models.model_from_json(json.dumps(config["keras"]["model"]))
        tensors = numpy.load_file(folder / WEIGHTS_FILE)
    except OSError as error:
        raise UserError(f"folder: {error.filename} cannot be read: {error.strerror}.") from None
    except Exception as error:  # JSON's, Keras' and safetensors' own for a damaged file
        raise UserError(f"folder: {folder} holds no network of a hub: {error}.") from error
    names = _names(model)
    shapes = {name: tuple(weight.shape) for name, weight in names.items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        wrong = sorted(set(shapes) ^ set(tensors)) or sorted(n for n in shapes if shapes[n] != tensors[n].shape)
        raise UserError(f"folder: the weights in {folder} are not those of its configuration: {', '.join(wrong[:3])}.")
    for name, weight in names.items():
        weight.assign(tensors[name])
    return model, config


def _names(model):
    """Weights by their paths; a path that comes twice gets a number."""
    found = {}
    for weight in model.weights:
        name, number = weight.path, 1
        while name in found:
            number += 1
            name = f"{weight.path}#{number}"
        found[name] = weight
    return found


def _tensors(model):
    arrays = {name: keras.ops.convert_to_numpy(weight) for name, weight in _names(model).items()}
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        raise missing_extra("model.safetensors", "safetensors", "hub") from None
    return safetensors.numpy
