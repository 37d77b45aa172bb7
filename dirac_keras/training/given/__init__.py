"""A network of no family, as it stands in the file that a training starts from: made ready, and kept with the run."""

from dirac_keras.training.given.network_text import build_from_text, network_text, read_network
from dirac_keras.training.given.preparing import prepared, weights_of_file

__all__ = ["build_from_text", "network_text", "prepared", "read_network", "weights_of_file"]
