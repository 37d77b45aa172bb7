"""What state a network is in: `measure(model, data)`, the verdict on it and the pictures of it."""

from dirac_keras.diagnostics.answers import Answers
from dirac_keras.diagnostics.callback import Diagnostics
from dirac_keras.diagnostics.curves import CURVES
from dirac_keras.diagnostics.diagnosis import QUANTITIES, Diagnosis, LayerRecord, Unmeasured, measure
from dirac_keras.diagnostics.page import answer_lines, layer_rows, missing_lines, write_page
from dirac_keras.diagnostics.pictures import plot_depth, plot_responses
from dirac_keras.diagnostics.quantization import QuantizationVerdict, judge_quantization
from dirac_keras.diagnostics.quantization_page import write_quantization_page
from dirac_keras.diagnostics.responses import Responses, collect_responses
from dirac_keras.diagnostics.verdict import Finding, Thresholds, Verdict, judge, margin, signs

__all__ = [
    "CURVES",
    "QUANTITIES",
    "Answers",
    "Diagnosis",
    "Diagnostics",
    "Finding",
    "LayerRecord",
    "QuantizationVerdict",
    "Responses",
    "Thresholds",
    "Unmeasured",
    "Verdict",
    "answer_lines",
    "collect_responses",
    "judge",
    "judge_quantization",
    "layer_rows",
    "margin",
    "measure",
    "missing_lines",
    "plot_depth",
    "plot_responses",
    "signs",
    "write_page",
    "write_quantization_page",
]
