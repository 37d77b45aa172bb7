"""What happens during `model.fit`: when to measure, when to write, when to stop."""

from dirac_keras.callbacks.divergence import StopOnDivergence, TrainingDiverged
from dirac_keras.callbacks.metrics import MetricsTable
from dirac_keras.callbacks.profile import Profile
from dirac_keras.callbacks.progress import ProgressReport
from dirac_keras.callbacks.scales import ScaleMonitor
from dirac_keras.callbacks.tensorboard import TensorBoardScalars
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.callbacks.timing import StepTimes
from dirac_keras.moved import moved_names

__all__ = [
    "MetricsTable",
    "Profile",
    "ProgressReport",
    "ScaleMonitor",
    "StepTimes",
    "StopOnDivergence",
    "TensorBoardScalars",
    "Throughput",
    "TrainingDiverged",
]

__getattr__ = moved_names(__name__)
