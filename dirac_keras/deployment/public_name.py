"""A data set's name as it may leave the machine."""

import os
import re

_FILES = ("folder:", "csv:", "parquet:")
# How a path begins: at the root or a drive, in the user's folder, here, or in the folder above.
_PATH = re.compile(r"^(/|~|\.{1,2}/|\.{1,2}\\|[A-Za-z]:[\\/])")


def public_name(name):
    """The name without the folders that lead to it, which are nobody else's business.

    `"folder:/home/ada/photos"` becomes `"folder:photos"`; `"cifar10"`, `"hf:zalando/fashion"` stay.

    Args:
        name: of a data set, or None.
    """
    if not isinstance(name, str):
        return name
    kind, colon, path = name.partition(":")
    if f"{kind}:" not in _FILES and not (colon and _PATH.match(path)):
        return name
    parts = [part for part in re.split(r"[\\/]", path) if part not in ("", ".", "..", "~")]
    return f"{kind}:{parts[-1]}" if parts else f"{kind}:{os.path.basename(os.path.abspath(path or '.'))}"
