"""Packages that a format needs: absent, too old, or there."""

import importlib.metadata
import re

from dirac_keras.errors import UserError, missing_extra

# Package -> the oldest release that is known to do. setup.cfg's extras ask for the same.
OLDEST = {
    "tf2onnx": (1, 17),
    "onnx": (1, 18),
    "onnxruntime": (1, 23),
    "ai-edge-litert": (2, 1),
    "litert-quantizer": (0, 11),
    "openvino": (2026, 0),
    "nncf": (3, 0),
}


def check_packages(format, packages, extra):
    """Raise MissingExtra or ValueError unless packages are there, and new enough.

    Args:
        format: name, for the error.
        packages: names as in `OLDEST`.
        extra: name of the extra that brings them.
    """
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise missing_extra(f"format={format!r}", package, extra) from None
        found = tuple(map(int, re.findall(r"\d+", version)[:2]))
        if found < OLDEST[package]:
            oldest = ".".join(map(str, OLDEST[package]))
            raise UserError(
                f"format={format!r} needs {package} {oldest} or newer. Received {package} {version}: pip install "
                f"-U 'dirac_keras[{extra}]'"
            )
