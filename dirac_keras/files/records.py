"""JSON records, checked where they are read: one schema a kind of file.

A file of the right syntax and the wrong shape is damaged, or another's: whoever reads it says so with its name, instead
of failing on a field later. A schema is a `msgspec.Struct`; limits stand in its annotations.
"""

import pathlib

import msgspec

from dirac_keras.errors import UserError


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
