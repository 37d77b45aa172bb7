"""The artefacts of one network side by side: size, latency, memory, accuracy, and how they differ from the model."""

from dirac_keras.deployment.benchmarking.measuring import benchmark
from dirac_keras.deployment.benchmarking.picture import plot_benchmark
from dirac_keras.deployment.benchmarking.report import BenchmarkReport

__all__ = ["BenchmarkReport", "benchmark", "plot_benchmark"]
