"""The state dict in a file: names -> arrays, whichever library wrote it and whatever a checkpoint has beside it."""

import dataclasses
import pathlib

import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.weights.reading.other_files import read_hdf5, read_safetensors
from dirac_keras.weights.reading.torch_files import read_legacy, read_zip

# Where a checkpoint keeps its tensors. The DiracNet authors' have two dicts, weights and statistics.
_PARTS = (("state_dict",), ("model_state_dict",), ("model",), ("net",), ("params", "stats"), ("params",))
_DEEPEST = 5  # dicts in dicts
# What stands before every name: of several devices, of torch.compile, of a network inside a trainer's module.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_KINDS = ".pth, .pt and .pt7 of PyTorch, .safetensors, and .h5 of Keras before version 3"


@dataclasses.dataclass(frozen=True)
class StateDict:
    """Tensors of a file.

    Attributes:
        path: `pathlib.Path` of the file.
        tensors: dict, name -> array.
        left_out: tuple of str, what else the file holds: the optimizer's state, numbers, texts.
    """

    path: pathlib.Path
    tensors: dict
    left_out: tuple = ()


def read_state_dict(path):
    """The tensors of a file; nothing that the file holds is run.

    Args:
        path: of a file of `torch.save` of any version, a `.safetensors` file, or a weights file of Keras 2.

    Returns: `StateDict`.
    Raises: ValueError: if there is no such file, it is of another kind, damaged, holds no tensors, or mentions code.
        MissingExtra: without safetensors.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(9)
        tree = _reader(path, head)(path)
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}.") from None
    tensors, left_out = _tensors_of(tree, path)
    return StateDict(path, tensors, left_out)


def _reader(path, head):
    if path.suffix == ".safetensors" or head[8:] == b"{":  # eight bytes of length, then JSON, under any name
        return read_safetensors
    if head.startswith(b"PK\x03\x04") and path.suffix != ".keras":
        return read_zip
    if head.startswith(b"\x89HDF"):
        return read_hdf5
    if head.startswith(b"\x80") or path.suffix in (".pth", ".pt", ".pt7"):
        return read_legacy
    raise UserError(f"path: {path} is no file of tensors by its name or its first bytes. What is read: {_KINDS}.")


def _tensors_of(tree, path):
    if not isinstance(tree, dict):
        raise UserError(f"path: {path} holds a {type(tree).__name__} in the place of a state dict.")
    left_out, found = [], tree
    for _ in range(_DEEPEST):
        if any(isinstance(value, np.ndarray) for value in found.values()):
            break
        parts = next((p for p in _PARTS if all(isinstance(found.get(key), dict) for key in p)), None)
        if parts is None:
            raise UserError(
                f"path: {path} holds no state dict: its keys are {', '.join(map(str, list(found)[:8])) or 'none'}."
            )
        left_out += [str(key) for key in found if key not in parts]
        merged = {}
        for part in parts:
            merged.update(found[part])
        found = merged
    else:
        raise UserError(f"path: {path} holds no state dict in its first {_DEEPEST} levels of dicts.")
    tensors = {str(key): value for key, value in found.items() if isinstance(value, np.ndarray)}
    left_out += [str(key) for key, value in found.items() if not isinstance(value, np.ndarray)]
    while prefix := next((one for one in _PREFIXES if all(name.startswith(one) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors, tuple(left_out)
