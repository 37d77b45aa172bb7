"""Datasets of Hugging Face: a folder that `save_to_disk` wrote, or a name on its hub."""

from __future__ import annotations

import contextlib
import os
import pathlib

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.part_names import describe_names, part_of
from pipelines.readers.tables.table import Table

FILES = ("dataset_dict.json", "dataset_info.json")  # one of them is in each folder of `save_to_disk`


def read_hugging_face(name: str, download: bool) -> Table:
    """The rows of all parts.

    Args:
        name: a folder, or `OWNER/NAME` of the hub.
        download: whether it may be fetched; else it must be on this machine.
    Raises: DataError: naming what is missing and where it is to be put.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            "hf:NAME is read by the package datasets, which is not installed: pip install 'dirac_keras[hf]'."
        ) from None
    if os.path.isdir(name):
        if not any((pathlib.Path(name) / file).is_file() for file in FILES):
            raise DataError(
                f"{printable(name)} is no folder that `save_to_disk` of the package datasets wrote: neither "
                f"{' nor '.join(FILES)} is in it. For a folder of images give {'folder:' + printable(name)!r}."
            )
        try:
            found = datasets.load_from_disk(name)
        except Exception as error:  # of Arrow, JSON, the package's own: the folder is damaged
            raise DataError(f"{printable(name)} cannot be read: {_first_line(error)}. Save it again.") from None
    else:
        found = _of_hub(datasets, name, download)
    return _table(datasets, name, found)


def _of_hub(datasets, name, download):
    with contextlib.nullcontext() if download else _offline(datasets):
        try:
            return datasets.load_dataset(name)
        except Exception as error:
            if download:
                raise DataError(f"hf:{printable(name)} cannot be fetched: {_first_line(error)}.") from None
    raise DataError(
        f"hf:{printable(name)} is neither a folder nor in the cache of this machine "
        f"({datasets.config.HF_DATASETS_CACHE}). Give `download=True` to fetch it; or, where there is a network, "
        f"datasets.load_dataset({name!r}).save_to_disk('FOLDER'), put FOLDER on this machine, and give hf:FOLDER."
    )


@contextlib.contextmanager
def _offline(datasets):
    """No connection is tried: the packages read these switches at each use."""
    import huggingface_hub.constants

    switches = [(datasets.config, "HF_HUB_OFFLINE"), (huggingface_hub.constants, "HF_HUB_OFFLINE")]
    switches = [(module, key, getattr(module, key)) for module, key in switches if hasattr(module, key)]
    try:
        for module, key, _ in switches:
            setattr(module, key, True)
        yield
    finally:
        for module, key, before in switches:
            setattr(module, key, before)


def _table(datasets, name, found):
    parts = found if isinstance(found, datasets.DatasetDict) else {None: found}
    columns: dict[str, list] = {}
    part, class_names = [], {}
    for key, rows in parts.items():
        if key is not None and part_of(key) is None:
            raise DataError(
                f"hf:{printable(name)} has a split named {printable(key)}, which is no part's name. Names of parts: "
                f"{describe_names()}. Save it with the splits that you want."
            )
        if not len(rows):
            continue
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
            inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else feature)
            if isinstance(inner, datasets.ClassLabel):
                class_names[column] = list(inner.names)
        if columns and set(columns) != set(rows.column_names):
            raise DataError(f"hf:{printable(name)} has splits of different columns.")
        for column in rows.column_names:
            columns.setdefault(column, []).extend(rows[column])
        part += [None if key is None else part_of(key)] * len(rows)
    if not part:
        raise DataError(f"hf:{printable(name)} has no rows.")
    folder = pathlib.Path(name) if os.path.isdir(name) else pathlib.Path()
    return Table(name, columns, folder, class_names=class_names, part=None if part[0] is None else part)


def _first_line(error):
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
