"""Deployment: a trained network as an artefact that serves elsewhere, and its measurement on data."""

from dirac_keras.deployment.exporting import FORMATS, ExportReport, export
from dirac_keras.deployment.image_spec import ImageSpec

__all__ = ["FORMATS", "ExportReport", "ImageSpec", "export"]
