"""`diracify` and `undiracify`: Dirac kernels in place of ordinary ones, and back, with the same outputs."""

import collections
import dataclasses
import logging

import keras
import numpy as np

from dirac_keras.brief import brief
from dirac_keras.errors import UserError
from dirac_keras.folding.inventory import layers_inside
from dirac_keras.folding.rebuild import Changes, rebuild
from dirac_keras.folding.rules import Rules, plain_class
from dirac_keras.folding.rules.base import known_class, to_float64
from dirac_keras.graph.functional import check_has_graph
from dirac_keras.graph.live_configs import live_config
from dirac_keras.graph.trace import trace
from dirac_keras.kernels import identity_kernel
from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D
from dirac_keras.listing import by_reason

logger = logging.getLogger("dirac_keras")

_DIRAC = {keras.layers.Conv1D: DiracConv1D, keras.layers.Conv2D: DiracConv2D, keras.layers.Conv3D: DiracConv3D}


@brief
@dataclasses.dataclass(frozen=True)
class DiracReport:
    """What `diracify` or `undiracify` did.

    Attributes:
        changed: tuple of str, paths of the layers that are of the other kind now.
        left: dict, path of a convolution -> why it stays.
    """

    changed: tuple
    left: dict

    def to_dict(self):
        """As lists, dicts and numbers, for JSON."""
        return {"changed": list(self.changed), "left": dict(self.left)}

    def __str__(self):
        total = len(self.changed) + len(self.left)
        lines = [f"changed {len(self.changed)} of {total} convolutions"]
        for reason, count in collections.Counter(self.left.values()).most_common():
            lines.append(f"  left {count}: {reason}")
        return "\n".join(lines)


def diracify(model, report=False):
    """Puts Dirac kernels in place of those of convolutions; the outputs stay the same, up to the rounding of floats.

    Those of stride 1, with odd kernels and as many outputs as inputs become `DiracConv1D` to `3D`; the others are left
    and counted in the log. A filter W is split by eq. 5, `W = a I + b W_norm`:

    - `a` is W's weight on the identity's tap, so that the rest has nothing of the identity, and a step of `a` and one
      of the rest do not disturb each other;
    - the raw kernel is this rest as it is, and `b` is its norm, so that its gradient is that of W, and a learning rate
      that suits the network goes on to suit it. Of a filter that is the identity alone `b` is 0 and the raw kernel
      random.

    Args:
        model: built Functional or Sequential `keras.Model`. It is not changed.
        report: bool, whether to return a `DiracReport` too.

    Returns: `keras.Model`, uncompiled, with copies of all weights; or `(model, DiracReport)`.
    Raises: ValueError: if `model` has no graph of layers, or no convolution that can change.
    Source: Zagoruyko & Komodakis 2017, arXiv:1706.00388, eq. 5.
    """
    check_has_graph(model)
    made, weights, names, left = {}, {}, {}, {}
    for path, layer in _layers(model):
        if not (isinstance(layer, tuple(_DIRAC)) and known_class(type(layer)) in _DIRAC):
            if isinstance(layer, keras.layers.Layer) and "conv" in type(layer).__name__.lower():
                left[path] = "is no Conv1D, Conv2D or Conv3D of Keras"
            elif isinstance(layer, keras.layers.Layer):
                inner = [f"{path}/{name}" for name, one in layers_inside(layer) if isinstance(one, tuple(_DIRAC))]
                left |= dict.fromkeys(inner, f"lies in a {type(layer).__name__}, whose layers stay as they are")
            continue
        if reason := _why_left(layer):
            left[path] = reason
            continue
        made[id(layer)], weights[id(layer)] = _dirac(layer)
        names[id(layer)] = path
    wanted = "convolutions that can change"
    return _changed(model, Changes({}, made, *_NOTHING), weights, names, left, report, wanted)


def undiracify(model, report=False):
    """Puts ordinary convolutions and dense layers in place of Dirac ones; the outputs stay the same.

    Args:
        model: built Functional or Sequential `keras.Model`. It is not changed.
        report: bool, whether to return a `DiracReport` too.

    Returns: `keras.Model`, uncompiled, with copies of all weights; or `(model, DiracReport)`.
    Raises: ValueError: if `model` has no graph of layers, or no Dirac layer.
    """
    check_has_graph(model)
    rules, names, left = {}, {}, {}
    all_rules = Rules()
    for path, layer in _layers(model):
        if plain_class(layer) is None or not hasattr(layer, "effective_kernel"):
            continue
        rule = all_rules.of(layer)
        shape = layer.compute_output_shape(_input_shape(model, layer))
        if reason := rule.why_not_plain(shape):
            left[path] = reason
            continue
        rule.has_new_kernel = True
        rules[id(layer)], names[id(layer)] = rule, path
    return _changed(model, Changes(rules, {}, *_NOTHING), {}, names, left, report, "Dirac layers")


def dirac_like(model):
    """A copy of a model with Dirac layers at their start in place of the convolutions that `diracify` would change.

    The start is that of short trainings: He-normal kernels, which are smaller than the paper's and so turn faster, and
    filters that weigh more.
    """
    made = {}
    for _, layer in _layers(model):
        if isinstance(layer, tuple(_DIRAC)) and known_class(type(layer)) in _DIRAC and not _why_left(layer):
            config, kind = _config_of(layer)
            config["kernel_initializer"] = "he_normal"  # the layer's own was for the whole kernel
            config["filter_scale_initializer"] = keras.initializers.Constant(0.3)
            made[id(layer)] = _DIRAC[kind].from_config(config)
    return rebuild(model, Changes({}, made, *_NOTHING))[0]


_NOTHING = (set(), {}, {}, set(), set(), {})  # dropped, cuts, dtypes, read_integers, closed, origins


def _layers(model):
    """Pairs `(path, layer)` of all that is called, each layer once."""
    return list({id(call.operation): (call.path, call.operation) for call in trace(model).calls}.values())


def _input_shape(model, layer):
    return next(call.input_shapes[0] for call in trace(model).calls if call.operation is layer)


def _why_left(layer):
    """Why a convolution stays as it is, or None."""
    if any(stride != 1 for stride in layer.strides):
        return "has strides"
    if any(size % 2 == 0 for size in layer.kernel_size):
        return "has an even kernel, which has no centre"
    inputs = layer.kernel.shape[-2] * layer.groups
    if inputs != layer.filters:
        return "has another number of outputs than inputs"
    if layer.kernel_constraint is not None:
        return "has a constraint, which is about the whole kernel"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "has LoRA or quantized weights"
    return None


def _config_of(layer):
    kind = known_class(type(layer))
    config = live_config(layer, kind)
    for key in ("lora_rank", "lora_alpha", "quantization_config"):
        config.pop(key, None)
    return config, kind


def _dirac(layer):
    """The Dirac layer of a convolution and its weights, by name."""
    config, kind = _config_of(layer)
    kernel = to_float64(layer.kernel)
    identity = identity_kernel(
        kernel.shape, "float64", tap="last" if layer.padding == "causal" else "centre", groups=layer.groups
    )
    axes = tuple(range(kernel.ndim - 1))
    identity_scale = (kernel * identity).sum(axis=axes)
    rest = kernel - identity_scale * identity
    filter_scale = np.sqrt(np.square(rest).sum(axis=axes))
    is_identity = np.square(filter_scale) < np.finfo("float32").tiny  # as `normalize_filters` sees it
    if is_identity.any():
        random = np.random.default_rng(0).normal(size=rest.shape) * (1.0 - identity)
        rest = np.where(is_identity, random, rest)
        filter_scale = np.where(is_identity, 0.0, filter_scale)
    weights = {"kernel": rest, "identity_scale": identity_scale, "filter_scale": filter_scale}
    if layer.use_bias:
        weights["bias"] = to_float64(layer.bias)
    return _DIRAC[kind].from_config(config), weights


def _changed(model, changes, weights, names, left, with_report, wanted):
    if not names:
        raise UserError(
            f"model must have {wanted}. Received model '{model.name}', "
            f"{f'in which none can change: {by_reason(left)}' if left else 'which has none'}."
        )
    changed, pairs, _ = rebuild(model, changes)
    for layer, copy in pairs:
        for name, value in weights.get(id(layer), {}).items():
            variable = getattr(copy, name)
            variable.assign(keras.ops.convert_to_tensor(value, dtype=variable.dtype))
    report = DiracReport(tuple(names.values()), left)
    logger.info("%s: %s", model.name, str(report).replace("\n ", ";"))
    return (changed, report) if with_report else changed
