"""Whether a file that is in an output's place is one that the same command wrote, and so may be replaced."""

import json
import os
import pathlib
import zipfile

import msgspec

from dirac_keras.errors import UserError
from dirac_keras.files.keras_zip import METADATA_MEMBER
from dirac_keras.files.places import check_place
from dirac_keras.files.records import read_record

_WAY_OUT = "Give another `output`, or remove it yourself."


class _Diagnosis(msgspec.Struct):
    model: str
    data: str
    verdict: dict


class _Quantization(msgspec.Struct):
    model: str
    data: str
    quantization: dict


class _Evaluation(msgspec.Struct):
    format: str
    model: str
    data: str
    task: str


class _Benchmark(msgspec.Struct):
    data: str
    rows: list


def check_benchmark(folder):
    """Raise UserError if a folder has a `benchmark.json` or `.png` that no benchmark wrote."""
    _check_report(folder, "benchmark", _Benchmark, "a benchmark", ".png")


def check_quantization(folder):
    """Raise UserError if a folder has a `quantization.json` or `.html` that no diagnosis wrote."""
    _check_report(folder, "quantization", _Quantization, "a diagnosis of quantization", ".html")


def check_folded(path, source):
    """Raise UserError unless `fold` may replace what is at a path: nothing, or a model that it wrote.

    Args:
        path: `pathlib.Path` of the output.
        source: `pathlib.Path` of the model that is folded.
    """
    if not os.path.lexists(path):
        return
    if source.exists() and path.exists() and os.path.samefile(path, source):
        raise UserError(f"output: {path} is the model itself, which would be lost. Give another `output`.")
    if not _is_folded(path):
        raise UserError(f"output: {path} was not written by fold, so it is not replaced. {_WAY_OUT}")


def check_evaluation(path, argument):
    """Raise UserError unless `evaluate` may write a file: where none is, or one that it wrote.

    Args:
        path: `pathlib.Path`, ending in .html or .json.
        argument: name of the argument that gave it.
    """
    if not os.path.lexists(path):
        return
    way_out = "Give another file, or remove it yourself."
    if path.suffix == ".json":
        read_record(path, _Evaluation, "an evaluation, so it is not replaced", way_out)
        return
    try:
        with open(path, encoding="utf-8") as file:
            is_ours = "<title>Evaluation of " in file.read(4096)
    except (OSError, UnicodeDecodeError):
        is_ours = False
    if not is_ours:
        raise UserError(f"`{argument}`: {path} was not written by evaluate, so it is not replaced. {way_out}")


def check_diagnosis(folder):
    """Raise UserError if a folder has a `diagnostics.json` or `.html` that no diagnosis wrote."""
    _check_report(folder, "diagnostics", _Diagnosis, "a diagnosis", ".html")


def _check_report(folder, name, schema, what, beside=None):
    """Raise UserError unless `NAME.json` in a folder is none or has the schema; so for the file `beside` it, alone."""
    record = pathlib.Path(folder) / f"{name}.json"
    check_place(record, "output")
    if os.path.lexists(record):
        read_record(record, schema, f"{what}, so it is not replaced", _WAY_OUT)
    elif beside and os.path.lexists(other := record.with_suffix(beside)):
        raise UserError(f"output: {other} was not written by {what}, so it is not replaced. {_WAY_OUT}")


def _is_folded(path):
    """Whether it is a `.keras` file of this package that is trained no more: without an optimizer or a position."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read(METADATA_MEMBER))
            return "position" not in metadata and not json.loads(archive.read("config.json")).get("compile_config")
    except Exception:  # no zip, no such member, no JSON: no file of ours
        return False
