"""Quantization-aware fine-tuning: a folded network trained on, its kernels and activations rounded in every step."""

from dirac_keras.deployment.quantization.training.finetuning import TARGETS, FinetuneReport, finetune

__all__ = ["TARGETS", "FinetuneReport", "finetune"]
