"""Pages that are written again: only where none is yet, or one of their own kind."""

import os


def is_other_page(path, heading):
    """Whether something is at a path that is no page of a kind, which its first line tells.

    Args:
        path: `pathlib.Path`.
        heading: str, the first line of such pages.
    """
    if not os.path.lexists(path):
        return False
    try:
        return not path.read_text(encoding="utf-8").startswith(f"{heading}\n")
    except (OSError, UnicodeDecodeError):
        return True
