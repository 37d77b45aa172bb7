"""Modules under their old names: importing one says where it is now."""

import sys

# Module before 0.1.0 -> what holds its content now.
MOVED = {
    "pipelines.build": "pipelines.streams (Examples and View: pipelines.examples)",
    "pipelines.folder": "pipelines.readers.folder",
    "pipelines.imagenet": "pipelines.readers.imagenet",
    "pipelines.manual": "pipelines.readers.usps and pipelines.readers.coil20",
    "pipelines.named": "pipelines.readers.named",
    "pipelines.raw": "pipelines.readers.raw",
    "pipelines.records": "pipelines.readers.records",
    "pipelines.spec": "pipelines.examples (Splits: pipelines.splits)",
}


class MovedModules:
    """A finder for `sys.meta_path` that finds nothing: for an old name it raises, with the new one."""

    def find_spec(self, name, path=None, target=None):
        if name in MOVED:
            # Without `name=`: `from package import module` would pass over a missing module of that name.
            raise ModuleNotFoundError(f"{name} has moved: import {MOVED[name]}")
        return None


def announce_moves():
    """Have the import of an old name say the new one, after all other finders have not found it."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
