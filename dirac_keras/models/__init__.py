"""Model families: one builder a file, each returns a functional `keras.Model` with layers named by position."""

from dirac_keras.models.diracnet import build_diracnet

__all__ = ["build_diracnet"]
