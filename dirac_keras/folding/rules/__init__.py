"""What folding knows of each layer type: one rule a type. A new layer type needs a class in here, nothing else."""

from dirac_keras.folding.rules.base import LinearRule, Rule, rule
from dirac_keras.folding.rules.dirac import DiracConv1DRule, DiracConv2DRule, DiracConv3DRule, DiracDenseRule
from dirac_keras.folding.rules.einsum import EinsumDenseRule
from dirac_keras.folding.rules.embedding import EmbeddingRule
from dirac_keras.folding.rules.kernels import (
    ConvRule,
    ConvTransposeRule,
    DenseRule,
    DepthwiseConvRule,
    OneKernelRule,
    SeparableConvRule,
)
from dirac_keras.folding.rules.lookup import Rules, has_rule, is_batch_normalization, plain_class
from dirac_keras.folding.rules.normalization import (
    BatchNormalizationRule,
    GroupNormalizationRule,
    LayerNormalizationRule,
    RMSNormalizationRule,
)
from dirac_keras.folding.rules.rescaling import NormalizationRule, RescalingRule
from dirac_keras.folding.rules.whitening import WhitenedConv2DRule
from dirac_keras.folding.rules.wrappers import SpectralNormalizationRule, TimeDistributedRule, inside

__all__ = [
    "BatchNormalizationRule",
    "ConvRule",
    "ConvTransposeRule",
    "DenseRule",
    "DepthwiseConvRule",
    "DiracConv1DRule",
    "DiracConv2DRule",
    "DiracConv3DRule",
    "DiracDenseRule",
    "EinsumDenseRule",
    "EmbeddingRule",
    "GroupNormalizationRule",
    "LayerNormalizationRule",
    "LinearRule",
    "NormalizationRule",
    "OneKernelRule",
    "RMSNormalizationRule",
    "RescalingRule",
    "Rule",
    "Rules",
    "SeparableConvRule",
    "SpectralNormalizationRule",
    "TimeDistributedRule",
    "WhitenedConv2DRule",
    "has_rule",
    "inside",
    "is_batch_normalization",
    "plain_class",
    "rule",
]
