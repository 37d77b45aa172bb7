"""Files of `torch.save`: the zip archive of PyTorch 1.6 and later, and the row of pickles before it."""

import math
import os
import struct
import sys
import zipfile

import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.weights.reading.pickles import Tensor, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_SAVE = "Save the state dict: torch.save(model.state_dict(), FILE)."


def read_zip(path):
    """The value in an archive of PyTorch, its tensors as arrays.

    Raises: ValueError: if it is damaged, compressed, a program (TorchScript), or its tensors do not fit its storages.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _from_archive(archive, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, struct.error) as error:
        raise UserError(f"path: {path} is damaged: {error}.") from None


def _from_archive(archive, path):
    members = {info.filename: info for info in archive.infolist()}
    if any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in members):
        raise UserError(f"path: {path} is a program (TorchScript), which is not read. {_SAVE}")
    # PyTorch compresses nothing, so what an archive holds cannot be larger than the archive.
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise UserError(f"path: {path} is compressed, which no file of PyTorch is. {_SAVE}")
    if sum(info.file_size for info in members.values()) > os.path.getsize(path):
        raise UserError(f"path: {path} is damaged: its members are larger than the file.")
    roots = [name[: -len("data.pkl")] for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise UserError(f"path: {path} is a zip file, but not of PyTorch: it has no data.pkl. {_SAVE}")
    root = roots[0]
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise UserError(f"path: {path} has its numbers in big-endian order, which is not read.")
    with archive.open(f"{root}data.pkl") as file:
        tree = read_pickle(file, path)

    def load(key):
        name = f"{root}data/{key}"
        if name not in members:
            raise UserError(f"path: {path} is damaged: it lacks the storage {key}.")
        return archive.read(name)

    return _with_arrays(tree, _Storages(load, path))


def read_legacy(path):
    """The value in a file as PyTorch before 1.6 wrote it; arguments and errors as `read_zip`."""
    with open(path, "rb") as file:
        if read_pickle(file, path) != _MAGIC or read_pickle(file, path) != _PROTOCOL:
            raise UserError(f"path: {path} is a pickle, but not of torch.save. {_SAVE}")
        system = read_pickle(file, path)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise UserError(f"path: {path} has its numbers in big-endian order, which is not read.")
        tree = read_pickle(file, path)
        keys = read_pickle(file, path)
        if not isinstance(keys, list):
            raise UserError(f"path: {path} is damaged: it has no list of its storages.")
        places = _places(file, [str(key) for key in keys], _sizes(tree), path)

        def load(key):
            if key not in places:
                raise UserError(f"path: {path} is damaged: it lacks the storage {key}.")
            start, length = places[key]
            file.seek(start)
            return file.read(length)

        return _with_arrays(tree, _Storages(load, path))


def _sizes(tree):
    """Bytes of a number of each storage that a tensor of the tree lies in."""
    found = {}
    _each_tensor(tree, lambda tensor: found.setdefault(tensor.storage.key, _width(tensor.storage.dtype)))
    return found


def _places(file, keys, widths, path):
    """Key -> `(first byte, bytes)`: each storage is a count of 8 bytes and the numbers."""
    places, end = {}, os.fstat(file.fileno()).st_size
    for key in keys:
        head = file.read(8)
        if len(head) < 8:
            raise UserError(f"path: {path} is cut off: it ends before the storage {key}.")
        if key not in widths:
            raise UserError(f"path: {path} has a storage {key} of no tensor, so its size is not known.")
        (count,) = struct.unpack("<q", head)
        length = count * widths[key]
        if count < 0 or length > end - file.tell():
            raise UserError(f"path: {path} is cut off or damaged: the storage {key} has {count} numbers.")
        places[key] = file.tell(), length
        file.seek(length, os.SEEK_CUR)
    return places


class _Storages:
    """Storages as arrays, each read once."""

    def __init__(self, load, path):
        self.load, self.path, self.arrays = load, path, {}

    def view(self, tensor):
        """The array of a `Tensor`, a view of its storage.

        Raises: ValueError: if it reaches beyond it, or has more numbers than it.
        """
        storage = tensor.storage
        if storage.key not in self.arrays:
            self.arrays[storage.key] = self._read(storage)
        numbers = self.arrays[storage.key]
        wholes = (tensor.offset, storage.first, *tensor.shape, *tensor.strides)
        if not all(type(number) is int and 0 <= number < sys.maxsize for number in wholes):
            raise UserError(f"path: {self.path} is damaged: it has a tensor of shape {tensor.shape}.")
        if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 32:
            raise UserError(f"path: {self.path} is damaged: shape {tensor.shape} has strides {tensor.strides}.")
        count = math.prod(tensor.shape)
        first = storage.first + tensor.offset
        last = first + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True))
        if count and (count > numbers.size or last >= numbers.size):
            raise UserError(
                f"path: {self.path} is damaged: a tensor of shape {tensor.shape} does not fit in its storage of "
                f"{numbers.size} numbers."
            )
        if not count:
            return np.zeros(tensor.shape, numbers.dtype)
        steps = [step * numbers.itemsize for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(numbers[first:], tensor.shape, steps, writeable=False)

    def _read(self, storage):
        data, width = self.load(storage.key), _width(storage.dtype)
        if not isinstance(storage.count, int) or len(data) != storage.count * width:
            raise UserError(
                f"path: {self.path} is damaged or cut off: storage {storage.key} must have {storage.count} numbers of "
                f"{width} bytes, and has {len(data)} bytes."
            )
        return to_array(data, storage.dtype)


def to_array(data, dtype):
    """Bytes as numbers; bfloat16 as float32, of which it is the upper half."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))


def _width(dtype):
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _each_tensor(tree, visit):
    """Call `visit` with every tensor; returns nothing. Values that hold themselves are gone through once."""
    seen, open_values = set(), [tree]
    while open_values:
        value = open_values.pop()
        if isinstance(value, Tensor):
            visit(value)
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            open_values.extend(value.values() if isinstance(value, dict) else value)


def _with_arrays(tree, storages):
    """The tree's dicts, with an array in the place of each tensor; what is in lists is of an optimizer and stays."""
    done = {}

    def convert(value):
        if isinstance(value, Tensor):
            return storages.view(value)
        if isinstance(value, dict):
            if id(value) not in done:
                done[id(value)] = {}
                done[id(value)].update((key, convert(one)) for key, one in value.items())
            return done[id(value)]
        return value

    return convert(tree)
