"""Which depths a family has, known without building a network."""

from dirac_keras.models.blocks import repeats_of_depth
from dirac_keras.models.diracnet import convolutions_per_group
from dirac_keras.models.resnet import blocks_per_group
from dirac_keras.models.vgg import CONVOLUTIONS

# Family -> function of a `TrainConfig` that raises ValueError or gives False where there is no such depth. A family
# that is not here has every depth.
_CHECKS = {
    "diracnet": lambda config: config.variant == "dense" or convolutions_per_group(config.depth, config.variant),
    "resnet": lambda config: config.variant == "dense" or blocks_per_group(config.depth, config.variant),
    "wide_resnet": lambda config: repeats_of_depth(config.depth, step=6, offset=4, where=""),
    "van": lambda config: config.kind == "dense" or repeats_of_depth(config.depth, step=8, offset=2, where=""),
    "highway": lambda config: config.kind == "dense" or repeats_of_depth(config.depth, step=3, offset=4, where=""),
    "plainnet": lambda config: config.kind == "dense" or config.depth == 50,
    "vgg": lambda config: config.depth in CONVOLUTIONS,
}


def has_depth(config):
    """Whether the family of a `TrainConfig`, in its kind or variant, has a network of `config.depth` layers."""
    try:
        return bool(_CHECKS.get(config.family, lambda config: True)(config))
    except ValueError:
        return False
