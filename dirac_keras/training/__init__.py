"""Training: from a config and data to a trained model in a run directory."""

from dirac_keras.training.building import build_model, compile_model, untrained_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.rate_finder import find_learning_rate
from dirac_keras.training.result import TrainResult
from dirac_keras.training.run import train
from dirac_keras.training.seeds import train_seeds

__all__ = [
    "TrainConfig",
    "TrainResult",
    "build_model",
    "compile_model",
    "find_learning_rate",
    "train",
    "train_seeds",
    "untrained_model",
]
