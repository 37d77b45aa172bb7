"""Model families: one builder a file, each returns a functional `keras.Model` with layers named by position."""

from dirac_keras.models.diracnet import build_diracnet
from dirac_keras.models.highway import build_highway
from dirac_keras.models.plainnet import build_plainnet
from dirac_keras.models.resnet import build_resnet
from dirac_keras.models.van import build_van
from dirac_keras.models.vgg import build_vgg
from dirac_keras.models.wide_resnet import build_wide_resnet

__all__ = [
    "FAMILIES",
    "build_diracnet",
    "build_highway",
    "build_plainnet",
    "build_resnet",
    "build_van",
    "build_vgg",
    "build_wide_resnet",
]


def _family(builder, fields, **others):
    """Function (config, data spec) -> model.

    Args:
        builder: function -> model.
        fields: names of the config's fields that are arguments of the builder too.
        others: the builder's other arguments, each with a function (config) -> value.
    """

    def build(config, spec):
        arguments = {name: getattr(config, name) for name in fields}
        arguments |= {name: value_of(config) for name, value_of in others.items()}
        return builder(num_classes=spec.num_classes, input_shape=spec.image_shape, **arguments)

    return build


def _initializer(config, own=None):
    """The start of ordinary kernels: the builder's `own`, unless the config names one and no `sigma` gives it."""
    return own if config.kernel_initializer == "paper" or config.sigma is not None else config.kernel_initializer


# Family name of a `TrainConfig` -> function (config, data spec) -> model.
FAMILIES = {
    "diracnet": _family(
        build_diracnet,
        ("depth", "width", "units", "variant", "parameterization", "filter_scale"),
        kernel_initializer=_initializer,
    ),
    "plainnet": _family(
        build_plainnet,
        ("kind", "depth", "units", "scenario"),
        initializer=lambda config: _initializer(config, own="he_uniform"),
    ),
    "van": _family(
        build_van,
        ("kind", "depth", "units", "width"),
        constrained=lambda config: config.skip_constraint,
        kernel_initializer=_initializer,
    ),
    "resnet": _family(
        build_resnet,
        ("depth", "width", "units", "variant", "skips", "sigma"),
        kernel_initializer=_initializer,
    ),
    "wide_resnet": _family(
        build_wide_resnet,
        ("depth", "width", "skips", "sigma"),
        kernel_initializer=_initializer,
    ),
    "highway": _family(
        build_highway,
        ("kind", "depth", "units", "width", "skips", "gate_bias"),
        kernel_initializer=_initializer,
    ),
    "vgg": _family(build_vgg, ("depth", "width"), kernel_initializer=_initializer),
}
