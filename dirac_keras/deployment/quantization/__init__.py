"""Quantization of a folded network: kernels on the grid of integers that a runtime will store, and what that costs."""

from dirac_keras.deployment.quantization.auditing import QuantizationAudit, audit
from dirac_keras.deployment.quantization.calibration import CalibrationSet, calibration_set
from dirac_keras.deployment.quantization.curing import AUTO, CURES, quantize
from dirac_keras.deployment.quantization.equalization import equalizable_pairs, equalize
from dirac_keras.deployment.quantization.gate import Gate, GateResult
from dirac_keras.deployment.quantization.grids import signal_to_noise_db
from dirac_keras.deployment.quantization.identity_apart import split_identity
from dirac_keras.deployment.quantization.memory import Memory
from dirac_keras.deployment.quantization.report import QuantizationReport, Trial
from dirac_keras.deployment.quantization.rounding import METHODS, RoundedLayer, round_weights
from dirac_keras.deployment.quantization.training import FinetuneReport, finetune

__all__ = [
    "AUTO",
    "CURES",
    "METHODS",
    "CalibrationSet",
    "FinetuneReport",
    "Gate",
    "GateResult",
    "Memory",
    "QuantizationAudit",
    "QuantizationReport",
    "RoundedLayer",
    "Trial",
    "audit",
    "calibration_set",
    "equalizable_pairs",
    "equalize",
    "finetune",
    "quantize",
    "round_weights",
    "signal_to_noise_db",
    "split_identity",
]
