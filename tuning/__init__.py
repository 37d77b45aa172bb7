"""Search of hyperparameters with KerasTuner: under a budget of the folded network, resumable, in parallel."""

from dirac_keras.errors import missing_extra

try:
    import keras_tuner  # noqa: F401
    import tomli_w  # noqa: F401
except ModuleNotFoundError as error:
    raise missing_extra("tune", error.name.replace("_", "-"), "tune") from error

from tuning.budget import Budget, Cost, CostMeter
from tuning.search import SearchResult, search
from tuning.space import SearchSpace, has_effect
from tuning.tuner import TrainingHyperModel

__all__ = ["Budget", "Cost", "CostMeter", "SearchResult", "SearchSpace", "TrainingHyperModel", "has_effect", "search"]
