"""What a `.keras` or `.h5` file holds, checked before anything of it is unpacked: sizes, checksums, our metadata."""

import io
import math
import zipfile
from typing import Annotated

import h5py
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from dirac_keras.errors import UserError
from dirac_keras.files.amounts import size_text
from dirac_keras.files.checksum import has_valid_checksum
from dirac_keras.files.records import parse_record

METADATA_MEMBER = "dirac_keras.json"  # of the `.keras` zip; Keras reads its own members only
WAY_OUT = "Write it again, or give another file (a run keeps its last checkpoints)."
# What a file may unpack to. Keras stores weights as they are; what grows by more is no network but an attack.
UNPACKED_BYTES, UNPACKED_TIMES = 2**30, 8
TEXT_BYTES = 2**26  # of a JSON member: the configuration of a network of 1,000 layers takes 1 MB

_Count = Annotated[int, Meta(ge=0)]
_Side = Annotated[int, Meta(ge=1, le=2**16)]
_Deviation = Annotated[float, Meta(gt=0)]


class DataRecord(Struct):
    """`metadata["data"]`: the data set that a model was trained on. Files of other versions may lack a field."""

    name: str | UnsetType = UNSET
    image_shape: Annotated[list[_Side], Meta(min_length=3, max_length=3)] | UnsetType = UNSET
    num_classes: Annotated[int, Meta(ge=1, le=10**7)] | UnsetType = UNSET
    class_names: list[str] | UnsetType | None = UNSET
    mean: list[float] | UnsetType = UNSET
    std: list[_Deviation] | UnsetType = UNSET
    resize: _Side | UnsetType | None = UNSET
    num_train: _Count | UnsetType = UNSET
    num_validation: _Count | UnsetType = UNSET
    num_test: _Count | UnsetType = UNSET
    exif_orientation: bool | UnsetType = UNSET
    max_pixels: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET


class Metadata(Struct):
    """Our member of a `.keras` file."""

    data: DataRecord | UnsetType | None = UNSET
    seed: int | UnsetType = UNSET
    position: dict | UnsetType = UNSET


class _WrittenBy(Struct):
    keras_version: str = "unknown"


def read_members(path, max_gigabytes=None):
    """Check a `.keras` file and read what of it is ours.

    Args:
        path: `pathlib.Path` of the file.
        max_gigabytes: number, what it may unpack to, in 10^9 bytes; None for `allowance`.

    Returns: `(metadata, version)`: our metadata, `{}` if it has none, and the version of Keras that wrote it.
    Raises: ValueError: if it is no `.keras` file, damaged, or unpacks to more.
    """
    try:
        if has_valid_checksum(path) is False:
            raise UserError(f"path: {path} is damaged: its checksum (sha256) does not fit. {WAY_OUT}")
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path, allowance(path, max_gigabytes))
            damaged = archive.testzip()  # Keras itself would load some flipped bits as weights
            if damaged:
                raise UserError(f"path: {path} is damaged in its member {damaged}. {WAY_OUT}")
            _check_weights_of(archive, path, allowance(path, max_gigabytes))
            record = b"{}"
            if METADATA_MEMBER in archive.namelist():
                record = archive.read(METADATA_MEMBER)
                source, what = f"path: {path}: its member {METADATA_MEMBER}", "metadata of this package"
                parse_record(record, Metadata, source, what, WAY_OUT)
            source = f"path: {path}: its member metadata.json"
            written_by = parse_record(archive.read("metadata.json"), _WrittenBy, source, "Keras' own", WAY_OUT)
            return msgspec.json.decode(record), written_by.keras_version
    except (UserError, MemoryError):
        raise
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error}. {WAY_OUT}") from error
    except Exception as error:  # zipfile raises as many kinds as there are ways to damage a file
        if isinstance(error, zipfile.BadZipFile):
            raise UserError(f"path: {path} is no .keras zip, or it is damaged or cut short. {WAY_OUT}") from None
        raise UserError(f"path: {path} is damaged ({type(error).__name__}: {error}). {WAY_OUT}") from error


def allowance(path, max_gigabytes=None):
    """Bytes that a file may unpack to, and that the network in it may take."""
    if max_gigabytes is not None:
        return int(max_gigabytes * 1e9)
    return max(UNPACKED_BYTES, UNPACKED_TIMES * path.stat().st_size)


def too_large(path, size, allowed):
    """The error of a file that would unpack to `size` bytes, or to more than that."""
    way_out = f"If you trust it, give `max_gigabytes={math.ceil(size / 1e9)}`."
    return UserError(
        f"path: {path} has {size_text(path.stat().st_size)} and would take {size / 1e9:,.1f} GB of memory or more; "
        f"{allowed / 1e9:,.1f} GB are allowed for it. {way_out}"
    )


def check_weights(file, path, allowed):
    """Refuse an HDF5 file whose arrays are compressed beyond what is allowed, or lie in other files.

    Args:
        file: path, or binary file object.
        path: `pathlib.Path` that errors name.
        allowed: bytes.
    """
    size = 0

    def visit(name, item):
        nonlocal size
        if isinstance(item, h5py.Dataset):
            size += item.size * item.dtype.itemsize if item.shape is not None else 0
            if item.external or item.is_virtual:
                raise UserError(f"path: {path} takes {name!r} from another file, which is not read. {WAY_OUT}")
        elif any(isinstance(item.get(key, getlink=True), h5py.ExternalLink) for key in item):
            raise UserError(f"path: {path} links from {name!r} to another file, which is not read. {WAY_OUT}")

    try:
        with h5py.File(file, "r") as weights:
            visit("/", weights)
            weights.visititems(visit)
    except UserError:
        raise
    except Exception as error:  # h5py too raises many kinds for damaged files
        raise UserError(f"path: {path} has damaged weights ({type(error).__name__}: {error}). {WAY_OUT}") from error
    if size > allowed:
        raise too_large(path, size, allowed)


def _check_sizes(archive, path, allowed):
    """What the directory of the zip promises; `zipfile` stops a member that holds more than it promised."""
    members = {member.filename: member for member in archive.infolist()}
    missing = {"config.json", "metadata.json"} - set(members)
    if missing:
        raise UserError(f"path: {path} is a zip, but no .keras file: it holds no {sorted(missing)[0]}.")
    size = sum(member.file_size for member in archive.infolist())
    if size > allowed:
        raise too_large(path, size, allowed)
    for name in ("config.json", "metadata.json", METADATA_MEMBER):
        if name in members and members[name].file_size > TEXT_BYTES:
            raise UserError(
                f"path: {path} has {size_text(members[name].file_size)} of text in its member {name}, more than "
                f"the {size_text(TEXT_BYTES)} of any network. It is damaged or made to do harm."
            )


def _check_weights_of(archive, path, allowed):
    for member in archive.infolist():
        if member.filename.endswith(".h5"):
            # HDF5 jumps about in its file: in a compressed member each jump back would unpack it anew.
            is_plain = member.compress_type == zipfile.ZIP_STORED
            file = archive.open(member) if is_plain else io.BytesIO(archive.read(member))
            with file:
                check_weights(file, path, allowed)
