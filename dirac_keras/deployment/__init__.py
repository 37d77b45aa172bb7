"""Deployment: a trained network as an artefact that serves elsewhere, and its measurement on data."""

from dirac_keras.deployment.exporting import export
from dirac_keras.deployment.formats.registry import FORMATS
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.report import ExportReport

__all__ = ["FORMATS", "ExportReport", "ImageSpec", "export"]
