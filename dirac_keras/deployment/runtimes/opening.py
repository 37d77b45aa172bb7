"""`open_artefact` with this package's errors."""

from dirac_keras.deployment.runtimes import standalone
from dirac_keras.errors import MissingExtra, UserError, missing_extra

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
        raise MissingExtra(f"{path}: {install_hint(standalone.find_format(path))}") from error


def install_hint(format):
    """What a format needs and the line that installs it, as a text."""
    package, extra = EXTRAS.get(format, ("tensorflow", None))
    if extra is None:
        return f"format {format} needs {package}, which is not installed: pip install {package}"
    return str(missing_extra(f"format {format}", package, extra))
