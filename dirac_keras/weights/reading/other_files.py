"""Files that hold tensors and no code: safetensors, and the HDF5 files of Keras before version 3."""

import re

import numpy as np

from dirac_keras.errors import UserError, missing_extra
from dirac_keras.weights.reading.torch_files import to_array

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(path):
    """Names -> arrays of a `.safetensors` file.

    Raises: MissingExtra: without safetensors. ValueError: if it is damaged, or has numbers of an unknown kind.
    """
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        raise missing_extra("A .safetensors file", "safetensors", "hub") from None
    try:
        with open(path, "rb") as file:
            found = deserialize(file.read())
    except SafetensorError as error:
        raise UserError(f"path: {path} is damaged: {error}.") from None
    arrays = {}
    for name, entry in found:
        if entry["dtype"] not in _DTYPES:
            raise UserError(f"path: {path} has numbers of the kind {entry['dtype']} in {name}, which are not read.")
        arrays[name] = to_array(bytes(entry["data"]), _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def read_hdf5(path):
    """Names -> arrays of a weights file of Keras before version 3, as `group/model/layer/kernel` without `:0`.

    Raises: ValueError: if it is damaged, or its data sets are no plain arrays in the file itself.
    """
    import h5py

    arrays = {}

    def add(name, node):
        if not isinstance(node, h5py.Dataset):
            return
        if node.external or node.is_virtual or node.dtype.kind not in "fiub":
            raise UserError(f"path: {path} has in {name} no plain numbers of its own.")
        if node.nbytes > 2**32:
            raise UserError(f"path: {path} has an array of {node.nbytes} bytes in {name}, which is not read.")
        arrays[name.rsplit(":", 1)[0]] = np.asarray(node)

    try:
        with h5py.File(path) as file:
            file.visititems(add)
    except UserError:
        raise
    except Exception as error:  # whatever h5py raises for a damaged file
        raise UserError(f"path: {path} is damaged: {error}.") from None
    if any(re.search(r"(^|/)vars/\d+$", name) for name in arrays):
        raise UserError(
            f"path: {path} holds weights of Keras 3, numbered, for a model that is built already: load them with its "
            "`load_weights`, and give the model in a .keras file where one is taken."
        )
    return arrays
