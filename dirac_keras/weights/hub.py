"""Where a file of weights is: on the disk, in the local cache, or on the Hugging Face hub."""

import os
import pathlib

from dirac_keras.errors import UserError, missing_extra

VARIABLE = "DIRAC_KERAS_WEIGHTS"
HUB = "hf://"


def cache_folder():
    """The folder of weights that presets look in: `$DIRAC_KERAS_WEIGHTS`, else `~/.cache/dirac_keras/weights`."""
    return pathlib.Path(os.environ.get(VARIABLE) or "~/.cache/dirac_keras/weights").expanduser()


def local_file(source):
    """The path of a file on this machine; a file of the hub is fetched, unless it is here already.

    Args:
        source: path, or `hf://OWNER/REPOSITORY/FILE`, `hf://OWNER/REPOSITORY@REVISION/FILE`.

    Raises: ValueError: if there is no such file, or the hub does not give it. MissingExtra: without huggingface_hub.
    """
    if not str(source).startswith(HUB):
        path = pathlib.Path(source)
        if not path.is_file():
            raise UserError(f"path: {path} {'is a folder' if path.is_dir() else 'does not exist'}. Give a file.")
        return path
    owner, repository, *inside = str(source)[len(HUB) :].split("/", 2)[:3] + [""] * 2
    repository, _, revision = repository.partition("@")
    if not (owner and repository and inside[0]):
        raise UserError(f"path: {source} must be hf://OWNER/REPOSITORY/FILE.")
    return _fetched(f"{owner}/{repository}", inside[0], revision or None, source)


def _fetched(repository, name, revision, source):
    try:
        import huggingface_hub
    except ImportError:
        raise missing_extra(f"{source}", "huggingface_hub", "hub") from None
    try:
        return pathlib.Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # the hub's, the network's and the disk's own
        said = next((f": {line[:200]}" for line in str(error).splitlines() if line.strip()), ".")
        raise UserError(
            f"path: {source} cannot be fetched: {type(error).__name__}{said} Fetch the "
            f"file {name} of {repository} elsewhere, put it on this machine, and give its path."
        ) from None
