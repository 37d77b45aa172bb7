"""`open_artefact` with this package's errors."""

from dirac_keras.deployment.runtimes import standalone
from dirac_keras.errors import UserError, missing_extra

# Format -> package and extra that bring its runtime.
EXTRAS = {"onnx": ("onnxruntime", "onnx"), "litert": ("ai-edge-litert", "litert"), "openvino": ("openvino", "openvino")}


def open_artefact(path, threads=None, signature=None):
    """`standalone.open_artefact`: an artefact of any format as a `standalone.Runner`.

    Raises: ValueError: if it is no artefact or damaged. MissingExtra: if its runtime is not installed.
    """
    try:
        return standalone.open_artefact(path, threads, signature)
    except standalone.ArtefactError as error:
        raise UserError(str(error)) from error
    except standalone.RuntimeAbsent as error:
        raise absent(path, error) from error


def absent(path, error):
    """The error for an artefact whose runtime is not installed, with the line that installs it."""
    package, extra = EXTRAS.get(standalone.find_format(path), ("tensorflow", None))
    return missing_extra(f"{path}", package, extra) if extra else error
