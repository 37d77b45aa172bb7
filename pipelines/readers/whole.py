"""All images of a folder of classes, for what needs no split, such as images to calibrate with."""

from __future__ import annotations

import pathlib

from pipelines.readers import layout
from pipelines.readers.image_files import folders_in
from pipelines.readers.layout import Layout
from pipelines.readers.passed_over import PassedOver


def list_whole(root: pathlib.Path) -> Layout | None:
    """A layout with one listing, "all"; None for what is no folder or has parts. Raises: DataError: for no classes."""
    if not root.is_dir() or layout._parts(root, folders_in(str(root))):
        return None
    layout._check_wrapping(str(root))
    classes, passed = layout._classes(str(root)), PassedOver(str(root))
    everything = layout.list_classes(str(root), classes, tuple(classes), passed, complete=True)
    layout._pass_what_is_beside(str(root), set(classes.values()), passed, "the class folders")
    return Layout(tuple(classes), {"all": everything}, passed, {})
