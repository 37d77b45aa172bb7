"""What state a network is in: `measure(model, data)` and the pictures of it."""

from dirac_keras.diagnostics.diagnosis import QUANTITIES, Diagnosis, LayerRecord, Unmeasured, measure
from dirac_keras.diagnostics.pictures import CURVES, plot_depth, plot_responses
from dirac_keras.diagnostics.responses import Responses, collect_responses

__all__ = [
    "CURVES",
    "QUANTITIES",
    "Diagnosis",
    "LayerRecord",
    "Responses",
    "Unmeasured",
    "collect_responses",
    "measure",
    "plot_depth",
    "plot_responses",
]
