"""Model families: one builder a file, each returns a functional `keras.Model` with layers named by position."""

from dirac_keras.models.diracnet import build_diracnet
from dirac_keras.models.plainnet import build_plainnet
from dirac_keras.models.van import build_van

__all__ = ["FAMILIES", "build_diracnet", "build_plainnet", "build_van"]


def _diracnet(config, spec):
    return build_diracnet(
        depth=config.depth,
        width=config.width,
        num_classes=spec.num_classes,
        input_shape=spec.image_shape,
        variant=config.variant,
        parameterization=config.parameterization,
        filter_scale=config.filter_scale,
        kernel_initializer=None if config.kernel_initializer == "paper" else config.kernel_initializer,
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
        kernel_initializer="he_normal" if config.kernel_initializer == "paper" else config.kernel_initializer,
    )


# Family name of a `TrainConfig` -> function (config, data spec) -> model.
FAMILIES = {"diracnet": _diracnet, "plainnet": _plainnet, "van": _van}
