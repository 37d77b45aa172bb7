"""Search of hyperparameters with KerasTuner: under a budget of the folded network, to be gone on with, in parallel."""

from tuning.budget import Budget, Cost, CostMeter
from tuning.search import SearchResult, search
from tuning.space import SearchSpace
from tuning.tuner import TrainingHyperModel

__all__ = ["Budget", "Cost", "CostMeter", "SearchResult", "SearchSpace", "TrainingHyperModel", "search"]
