"""dirac_keras: very deep networks without skip connections, trained in Keras 3 and folded to plain chains."""

from dirac_keras.startup import is_our_command, quiet_stderr

__version__ = "0.1.0"

if is_our_command():
    with quiet_stderr():
        import keras  # noqa: F401

from dirac_keras import layers, models
from dirac_keras.config import TrainConfig
from dirac_keras.export import export
from dirac_keras.folding import assert_plain, fold
from dirac_keras.phase_out import SkipPhaseOut

__all__ = ["SkipPhaseOut", "TrainConfig", "assert_plain", "export", "fold", "layers", "models"]
