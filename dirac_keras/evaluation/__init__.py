"""A trained network judged in depth: intervals, classes, calibration, mistakes, comparison, corruptions, a report."""

from dirac_keras.moved import moved_names

__getattr__ = moved_names(__name__)
