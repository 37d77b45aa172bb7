"""Artefacts opened and run by the runtimes of their formats, here and in a process without this package."""

from dirac_keras.deployment.runtimes.clean_process import run_in_clean_process
from dirac_keras.deployment.runtimes.opening import open_artefact

__all__ = ["open_artefact", "run_in_clean_process"]
