"""Model families: one file each, with a builder of functional `keras.Model`s and the family's record."""

from dirac_keras.models.diracnet import build_diracnet
from dirac_keras.models.family import FAMILIES, Family, Layout, register_family
from dirac_keras.models.fastnet import build_fastnet
from dirac_keras.models.highway import build_highway
from dirac_keras.models.plainnet import build_plainnet
from dirac_keras.models.resnet import build_resnet
from dirac_keras.models.van import build_van
from dirac_keras.models.vgg import build_vgg
from dirac_keras.models.wide_resnet import build_wide_resnet

__all__ = [
    "FAMILIES",
    "Family",
    "Layout",
    "build_diracnet",
    "build_fastnet",
    "build_highway",
    "build_plainnet",
    "build_resnet",
    "build_van",
    "build_vgg",
    "build_wide_resnet",
    "register_family",
]
