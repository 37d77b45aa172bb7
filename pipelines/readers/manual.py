"""Files that tensorflow-datasets does not have and one gets by hand. Only `fetch` uses the network."""

from __future__ import annotations

import http.client
import os
import pathlib
import shutil
import tempfile
import urllib.request

from pipelines.examples import DataError
from pipelines.readers.storage import absent, check_reachable, data_folder, first_line

# Where tensorflow-datasets, too, looks for files that one gets by hand.
MANUAL_FOLDER = pathlib.Path("downloads", "manual")
STALL_SECONDS = 30.0


def find_files(
    name: str, sources: tuple[str, ...], data_dir: str | os.PathLike | None = None, download: bool = False
) -> pathlib.Path:
    """The folder that has the files of a dataset, `DATA_DIR/downloads/manual`.

    Args:
        name: of the dataset, for messages.
        sources: the addresses of its files; the last part of each is the file's name.
        data_dir: the folder of tensorflow-datasets, see `pipelines.readers.storage.data_folder`.
        download: fetch missing files; nothing is ever fetched without it.
    Raises: DataError: if a file is absent or cannot be fetched.
    """
    data = data_folder(data_dir)
    folder = data / MANUAL_FOLDER
    if download and missing(sources, folder):
        fetch(name, sources, folder)
    if rest := missing(sources, folder):
        raise absent(name, data, " and ".join(str(MANUAL_FOLDER / file_name(source)) for source in rest))
    return folder


def missing(sources: tuple[str, ...], folder: pathlib.Path) -> list[str]:
    """The sources whose files are not in `folder`."""
    return [source for source in sources if not (folder / file_name(source)).is_file()]


def fetch(name: str, sources: tuple[str, ...], folder: pathlib.Path) -> None:
    """Download the missing files, each whole beside its place and then moved there: a failure leaves no part."""
    sources = missing(sources, folder)
    for source in sources:
        check_reachable(name, source)
    source, scratch = sources[0], None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-download-", dir=folder))
        for source in sources:
            part = scratch / file_name(source)
            _download(source, part)
            os.replace(part, folder / part.name)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{name} could not be fetched from {source} ({first_line(error)}). Try again.") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _download(source: str, path: pathlib.Path) -> None:
    with urllib.request.urlopen(source, timeout=STALL_SECONDS) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)
        announced = response.headers.get("Content-Length")
    if announced is not None and path.stat().st_size != int(announced):  # http.client ends a cut stream in silence
        raise OSError(f"{path.stat().st_size:,} of {int(announced):,} bytes came")


def file_name(source: str) -> str:
    """The last part of an address."""
    return source.rsplit("/", 1)[1]
