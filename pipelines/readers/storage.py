"""Where datasets lie on this machine, whether their servers answer, and what is said of absent or damaged data."""

from __future__ import annotations

import os
import pathlib
import textwrap
import urllib.request

from pipelines.examples import DataError

REACH_SECONDS = 5.0


def data_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """The argument, else `$TFDS_DATA_DIR`, else ~/tensorflow_datasets, as in tensorflow-datasets itself."""
    return pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def check_reachable(name: str, source: str) -> None:
    """Raises: DataError: if `source` does not answer in `REACH_SECONDS`; tfds would retry for minutes."""
    try:
        urllib.request.urlopen(urllib.request.Request(source, method="HEAD"), timeout=REACH_SECONDS).close()
    except OSError as error:  # urllib's errors are OSErrors
        raise DataError(
            f"{name} cannot be downloaded: {source} did not answer ({first_line(error)}). Check the network, or give "
            "the folder that has the data as `data_dir`."
        ) from error


def absent(name: str, data: pathlib.Path, wanted: str) -> DataError:
    """The error for a dataset whose files, `wanted`, are not in the folder `data`."""
    return DataError(
        f"{name} was not found in {data}: looked for {wanted}. Fetch it with `download=True`, or give the folder that "
        "has it as `data_dir`."
    )


def damaged(path: pathlib.Path, reason, again: str = "get it again with `download=True`") -> DataError:
    """The error for a file or folder that is not what its authors published.

    Args:
        reason: text or exception, of which the first line is quoted.
        again: how to get the data, as a command.
    """
    return DataError(
        f"{path} is damaged: {first_line(reason)}. Remove it and {again}, or give another folder as `data_dir`."
    )


def first_line(reason) -> str:
    """The first line of a text of ours, or of a library's exception, which is cut after 200 characters."""
    text = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    if isinstance(reason, Exception):
        text = textwrap.shorten(text, 200, placeholder=" ...")
    return text.rstrip(".")
