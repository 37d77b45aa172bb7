"""JSON records, checked where they are read: one schema a kind of file.

A file of the right syntax and the wrong shape is damaged, or another's: whoever reads it says so with its name, instead
of failing on a field later. A schema is a `msgspec.Struct`; limits stand in its annotations.

A sealed record has a checksum of its own content: a digit that changed in it is seen.
"""

import hashlib
import json
import pathlib

import msgspec

from dirac_keras.errors import UserError

CHECKSUM = "checksum"  # field of a sealed record


def read_record(path, schema, what, way_out):
    """A JSON file as an object of `schema`.

    Args:
        path: of the file.
        schema: type that msgspec can check, such as a `msgspec.Struct`, or `dict[str, float]`.
        what: text, what the file is: "the record of a run".
        way_out: text, a sentence: what the user can do.

    Returns: object of `schema`.
    Raises: ValueError: if the file cannot be read or does not hold that, with its name and the place.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}. {way_out}") from error
    return parse_record(data, schema, f"path: {path}", what, way_out)


def parse_record(data, schema, source, what, way_out):
    """`read_record` of bytes or text that came from `source`, which begins the message."""
    try:
        return msgspec.json.decode(data, type=schema)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{source} is not {what}, or it is damaged: {error}. {way_out}") from None


def convert_record(values, schema, source, what, way_out):
    """`read_record` of what JSON has become already, such as the metadata of a `.keras` file."""
    try:
        return msgspec.convert(values, schema)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UserError(f"{source} is not {what}, or it is damaged: {error}. {way_out}") from None


def sealed(record):
    """A JSON-safe dict with its checksum, for `read_sealed`."""
    return {**record, CHECKSUM: _digest(record)}


def read_sealed(path, schema, what, way_out):
    """`read_record` of a sealed record; one without a checksum, as earlier versions wrote it, is read too.

    Returns: the object of `schema`, and the record as a dict, without its checksum.
    Raises: ValueError: as `read_record`; and if the content is not what was sealed.
    """
    path = pathlib.Path(path)
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}. {way_out}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"path: {path} is not {what}, or it is damaged: {error}. {way_out}") from None
    checked = convert_record(record, schema, f"path: {path}", what, way_out)
    checksum = record.pop(CHECKSUM, None)
    if checksum is not None and checksum != _digest(record):
        raise UserError(f"path: {path} has changed since it was written: its checksum does not fit. {way_out}")
    return checked, record


def _digest(record):
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
