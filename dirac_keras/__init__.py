"""dirac_keras: very deep networks without skip connections, trained in Keras 3 and folded to plain chains."""

import os
import pathlib
import sys

__version__ = "0.1.0"

if pathlib.Path(sys.argv[0]).stem == "dirac-keras":
    # Before TensorFlow is imported: its start-up notices are no news to who typed our command.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dirac_keras import layers, models
from dirac_keras.config import TrainConfig
from dirac_keras.export import export
from dirac_keras.folding import fold

__all__ = ["TrainConfig", "export", "fold", "layers", "models"]
