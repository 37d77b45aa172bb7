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


def _diracnet(config, spec):
    return build_diracnet(
        depth=config.depth,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        variant=config.variant,
        parameterization=config.parameterization,
        filter_scale=config.filter_scale,
        units=config.units,
        kernel_initializer=_initializer(config),
    )


def _plainnet(config, spec):
    return build_plainnet(
        kind=config.kind,
        depth=config.depth,
        units=config.units,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        scenario=config.scenario,
        initializer="he_uniform" if config.kernel_initializer == "paper" else config.kernel_initializer,
    )


def _van(config, spec):
    return build_van(
        kind=config.kind,
        depth=config.depth,
        units=config.units,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        constrained=config.skip_constraint,
        kernel_initializer=_initializer(config),
    )


def _resnet(config, spec):
    return build_resnet(
        depth=config.depth,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        variant=config.variant,
        units=config.units,
        skips=config.skips,
        sigma=config.sigma,
        kernel_initializer=_initializer(config) if config.sigma is None else None,
    )


def _wide_resnet(config, spec):
    return build_wide_resnet(
        depth=config.depth,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        skips=config.skips,
        sigma=config.sigma,
        kernel_initializer=_initializer(config) if config.sigma is None else None,
    )


def _highway(config, spec):
    return build_highway(
        kind=config.kind,
        depth=config.depth,
        units=config.units,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        skips=config.skips,
        gate_bias=config.gate_bias,
        kernel_initializer=_initializer(config),
    )


def _vgg(config, spec):
    return build_vgg(
        depth=config.depth,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        kernel_initializer=_initializer(config),
    )


def _initializer(config):
    """The start of ordinary kernels: the builder's own unless the config names one."""
    return None if config.kernel_initializer == "paper" else config.kernel_initializer


# Family name of a `TrainConfig` -> function (config, data spec) -> model.
FAMILIES = {
    "diracnet": _diracnet,
    "plainnet": _plainnet,
    "van": _van,
    "resnet": _resnet,
    "wide_resnet": _wide_resnet,
    "highway": _highway,
    "vgg": _vgg,
}
