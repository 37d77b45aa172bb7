"""A configuration as a file: JSON or TOML, a run's own record among them."""

import json
import pathlib

from dirac_keras.errors import UserError
from dirac_keras.files.records import CHECKSUM
from dirac_keras.models.family import SIZES, find_family
from dirac_keras.training.config import REMOVED
from dirac_keras.training.effects import is_of_image_files

# What a run's `config.json` holds beside the fields.
PROVENANCE = (
    *("versions", "commit", "data_spec", "started", "machine", "precision_used"),
    *("run", "threads", "backend", "reader", "start_sha256", CHECKSUM),
    *("device", "test_images"),
)
# Family -> the former field that was its layout.
FORMER_LAYOUT = {"diracnet": "variant", "resnet": "variant", "plainnet": "kind", "van": "kind", "highway": "kind"}


def read_config_file(path):
    """The fields in a `.json` or `.toml` file (a run's `config.json` too) as a dict.

    Raises: ValueError: if the file is absent, of another kind, or damaged.
    """
    values = _read(path)
    if _is_record(values):  # the provenance is not a setting
        values = {name: value for name, value in values.items() if name not in PROVENANCE}
        values = _as_images_were_read(_with_layout(values))
        values = {"momentum_rule": "keras"} | values  # the only one before there was a field for it
    return values


def is_record_file(path):
    """Whether a configuration file is the record of a run, with a value for every field that there was then."""
    return _is_record(_read(path))


def _is_record(values):
    return "versions" in values and "commit" in values


def _read(path):
    path = pathlib.Path(path)
    if path.suffix not in (".json", ".toml"):
        raise UserError(f"A configuration file ends in .json or .toml. Received {path}.")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, object_pairs_hook=_once) if path.suffix == ".json" else _toml().loads(text)
    except OSError as error:
        raise UserError(f"Configuration file {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"Configuration file {path} is no valid {path.suffix[1:].upper()}: {error}.") from None
    if not isinstance(values, dict):
        raise UserError(f"Configuration file {path} must hold a table of fields. Received a {type(values).__name__}.")
    return values


def _once(pairs):
    """A dict of pairs. Raises: ValueError: if a name is there twice, of which `json` keeps the last without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return values


def _as_images_were_read(values):
    """A run's record with what was so before there was a field for it: no image file was turned by its EXIF."""
    if "exif_orientation" in values or not is_of_image_files(values.get("data")):
        return values
    return {**values, "exif_orientation": False}


def _with_layout(values):
    """A run's record as it is written today: before 0.1.0 it had `kind` and `variant`, and sizes of no effect."""
    if not REMOVED.keys() & values.keys():
        return values
    family = values.get("family")
    layout = values.get(FORMER_LAYOUT.get(family))
    values = {name: value for name, value in values.items() if name not in REMOVED} | {"layout": layout}
    without_effect = {*SIZES} - {find_family(family).layout(layout).size}
    return {name: value for name, value in values.items() if name not in without_effect}


def _toml():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    return tomllib
