"""dirac_keras: very deep networks without skip connections, trained in Keras 3 and folded to plain chains."""

__version__ = "0.1.0"

from dirac_keras import layers, models
from dirac_keras.config import TrainConfig
# from dirac_keras.export import export
from dirac_keras.folding import fold

__all__ = ["TrainConfig", "fold", "layers", "models"]
