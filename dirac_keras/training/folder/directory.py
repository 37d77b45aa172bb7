"""The folder of one training run: what it holds, and whether it is this run's."""

import datetime
import importlib.metadata
import json
import logging
import pathlib
import platform
import re
import secrets
import subprocess

from dirac_keras import __version__
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import write_text
from dirac_keras.files.leftovers import remove, remove_leftovers
from dirac_keras.files.manifest import Manifest
from dirac_keras.files.records import read_sealed, sealed
from dirac_keras.files.run_files import KNOWN_FILES, TENSORBOARD
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.config_file import read_config_file
from dirac_keras.training.effects import is_of_image_files
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.origin import check_origin
from dirac_keras.training.folder.records import RunRecord
from dirac_keras.training.hardware import device
from dirac_keras.training.stepping.threads import restore_threads, threads_in_effect

logger = logging.getLogger("dirac_keras")
PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "tensorflow-datasets")
# Fields that do not change what is computed.
WHERE_ONLY = ("data_dir", "keep_checkpoints", "checkpoint_steps", "checkpoint_seconds", "on_broken", "max_pixels")
WHERE_ONLY += ("tracker",)
# What Keras calls a file it writes the weights of a large model to, beside the file it makes of them.
KERAS_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class RunDirectory:
    """Paths and records of a run.

    | file | content |
    |---|---|
    | `config.json` | every field of the config, seed, versions, commit, the data set's facts |
    | `network.json` | a network that is of no family, without weights, as the run began with it |
    | `metrics.csv` | a row an epoch |
    | `scales.csv`, `scales.png` | mean of a and b of every Dirac layer, an epoch each (Fig. 2 of the paper) |
    | `skips.csv`, `skips.png` | what is left of the skips of a VAN, by step |
    | `curves.png` | loss and accuracy over the epochs |
    | `checkpoints/` | `step-00000700.keras`: model, optimizer and position after 700 steps |
    | | `best-0007.keras`: the weights of the best epoch, where it is kept |
    | `tb/` | TensorBoard |
    | `model.keras` | the trained model; its presence says that the run is finished |
    | `summary.json` | the final figures |
    | `.lock` | the process that trains here |
    | `.dirac-keras-files` | the list of these files: what `overwrite=True` deletes |
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.network = self.path / "network.json"
        self.metrics = self.path / "metrics.csv"
        self.scales = self.path / "scales.csv"
        self.scales_picture = self.path / "scales.png"
        self.skips = self.path / "skips.csv"
        self.skips_picture = self.path / "skips.png"
        self.curves_picture = self.path / "curves.png"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tb"
        self.model = self.path / "model.keras"
        self.summary = self.path / "summary.json"
        self.manifest = Manifest(self.path, KNOWN_FILES)

    def is_finished(self):
        return self.model.exists()

    def check(self, config, data_spec, precision_used, origin=None):
        """Find that the folder is free, or this run's.

        Args:
            config: `TrainConfig`.
            data_spec: dict of the data set's facts; data that have changed make another run.
            precision_used: str, dtype policy.
            origin: dict, see `origin.check_origin`; a finished run may be read from anywhere.

        Raises: ValueError: if it holds another run (the differing fields are named) or other files.
        """
        if self.config.exists():
            record = self.record()
            self._check_same_run(config, precision_used, record.precision_used)
            if not self.is_finished():
                check_origin(self.path, record, origin)
            self._check_same_data(data_spec, record.data_spec)
            return
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"workdir {self.path} is a file. Give a folder.")
        foreign = sorted(p.name for p in self.path.glob("[!.]*"))
        if foreign:
            raise UserError(
                f"workdir {self.path} holds files that are no run's ({', '.join(foreign[:3])}). "
                "Give an empty or new folder."
            )

    def is_there(self):
        """Whether the folder holds a run, or what may be one."""
        return self.config.exists() or self.config.name in self.manifest.entries()

    def check_only_run(self):
        """Raise ValueError unless the folder holds a run and nothing else: what `overwrite=True` may delete."""
        if self.config.name not in self.manifest.entries():
            self.record()
        self.manifest.check()

    def record(self):
        """The `RunRecord` in `config.json`. Raises: ValueError: if it is none."""
        way_out = "Give another `workdir`."
        if self.config.name in self.manifest.entries():
            way_out = "Restore it, give another `workdir`, or `overwrite=True` to delete that run."
        try:
            return read_sealed(self.config, RunRecord, "the record of a run", way_out)[0]
        except UserError as error:
            raise UserError(f"workdir {self.path} holds a config.json that is no run's, or damaged: {error}") from None

    def restore_threads(self):
        """Compute as the run did that is there, if one is, see `threads`. Its record is checked elsewhere."""
        try:
            recorded = self.record().threads if self.config.exists() else None
        except UserError:
            return
        restore_threads(recorded)

    def identity(self):
        """`{"run": ...}`, the run's identifier, for its other records."""
        return {"run": self.record().run}

    def state_of_records(self):
        """What a checkpoint keeps beside its position, see `ModelRecord`."""
        return {"run": self.record().run, "tables": run_tables.read_texts(self.path)}

    def read_config(self):
        """The `TrainConfig` of the run that is there. Raises: ValueError: if there is none."""
        return TrainConfig.from_mapping(read_config_file(self.config))

    def read_data_spec(self):
        """The data set's facts as `create` was given them, tuples as lists."""
        return self.record().data_spec

    def create(self, config, data_spec, precision_used, origin=None):
        """Write `config.json` unless it is there. Raises: ValueError: if the folder cannot be written."""
        try:
            self.manifest.begin()
            self.manifest.add(patterns=TENSORBOARD)
        except OSError as error:
            raise UserError(f"workdir {self.path} cannot be written: {error.strerror or error}.") from error
        if self.config.exists():
            return
        record = {
            **config.to_dict(),
            "precision_used": precision_used,
            "versions": versions(),
            "commit": commit(),
            "machine": machine(),
            "device": device(),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "data_spec": data_spec,
            "run": secrets.token_hex(8),
            "threads": threads_in_effect(),
            **(origin or {}),
        }
        write_text(self.config, json.dumps(sealed(json.loads(json.dumps(record))), indent=2) + "\n")

    def remove_leftovers(self):
        """Delete what a killed process left half-written; no other process trains here."""
        for folder in (self.path, self.checkpoints):
            remove_leftovers(folder, unsigned=True)
            for path in folder.glob("tmp*"):
                if KERAS_TEMPORARY.fullmatch(path.name) and _is_hdf5(path):
                    remove(path)

    def clear(self):
        """Delete the run that is there; the folder stays, with the lock on it.

        Raises: ValueError: if anything else is in the folder, named; then nothing is deleted.
        """
        self.manifest.clear()

    def _check_same_run(self, config, precision_used, used):
        stored = read_config_file(self.config)
        try:
            there = TrainConfig.from_mapping(stored).to_dict()
        except (ValueError, TypeError) as error:
            raise UserError(f"workdir {self.path} holds a run of another version: {error}") from None
        here = config.to_dict()
        different = [f"{k}={there[k]!r} there, {here[k]!r} here" for k in here if there[k] != here[k]]
        different = [text for text in different if text.split("=")[0] not in WHERE_ONLY]
        if different:
            raise UserError(
                f"workdir {self.path} holds another run ({'; '.join(different)}). To resume it with its own settings, "
                f'give `config="{self.config}"`; else another `workdir`, or `overwrite=True` to delete that run.'
            )
        if used != precision_used:
            raise UserError(
                f"workdir {self.path} holds a run in {used}; this machine would resume it in {precision_used}. "
                f'Give `precision="{used.removeprefix("mixed_")}"` and `overwrite=True`, or another `workdir`.'
            )

    def _check_same_data(self, data_spec, there):
        here = json.loads(json.dumps(data_spec))  # as it would be stored: tuples are lists
        # What the record has not, it was written before there was; on image files it may change what is seen.
        new = sorted(here.keys() - there.keys())
        if new and is_of_image_files(here.get("name")) and here.get("exif_orientation"):
            logger.warning("the run began before there was %s: its images may be read otherwise now", ", ".join(new))
        different = sorted(name for name in there if there[name] != here.get(name))
        if different:
            raise UserError(
                f"workdir {self.path} holds a run on other data: {here.get('name')} has changed since "
                f"({', '.join(different)}). Restore the data, give another `workdir`, or `overwrite=True` to delete "
                "that run."
            )


def _is_hdf5(path):
    """Whether it is a file that begins as HDF5 does, or is not begun."""
    try:
        with open(path, "rb") as file:
            return not path.is_symlink() and file.read(len(HDF5_SIGNATURE)) in (HDF5_SIGNATURE, b"")
    except OSError:
        return False


def versions():
    """Versions of what computes, by name."""
    found = {"dirac_keras": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit():
    """The commit this package's source is at, with `-dirty` if it was changed; None outside a checkout."""
    folder = pathlib.Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def machine():
    """Processor, cores and system in words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = re.findall(r"model name\s*:\s*(.+)", file.read())
    except OSError:
        names = []
    processor = f"{names[0]}, {len(names)} cores" if names else platform.processor()
    return f"{processor}, {platform.machine()} {platform.system()}"
