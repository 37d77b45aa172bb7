"""A library's layout of a network, and the tensors of a state dict put into the weights of one of ours."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.listing import listed
from dirac_keras.models.blocks import check_count, check_input_shape
from dirac_keras.weights.conversions import PYTORCH
from dirac_keras.weights.names import find_source

COUNTERS = r".*\.num_batches_tracked"  # PyTorch's count of training steps in BatchNormalization
_SHOWN = 60  # names of each kind in a message


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the images are for which a network was trained.

    Attributes:
        name: str, the data set.
        mean, std: tuple of float, a channel each, in units of 0 to 255.
        sides: tuple of int, height and width in pixels.
        resize: int, what the shorter side is scaled to before the centre is cut out; None: no crop.
    """

    name: str
    mean: tuple
    std: tuple
    sides: tuple
    resize: int | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one library stores one network.

    Attributes:
        source: str, the library, for people.
        build: function `(num_classes, input_shape) -> keras.Model`, layers named by position.
        table: dict, name of a layer -> name of a tensor, see `names`.
        marker: str, a tensor that this layout has and the other layouts of the network do not.
        classes: str, the tensor whose length along `classes_axis` is the number of classes.
        preprocessing: `Preprocessing`.
        ignored: tuple of regular expressions, tensors that hold no weights.
        endings: one of `conversions.PYTORCH`, `conversions.KERAS`.
        classes_axis: int.
        rename: function, name in the file -> name in the table; None leaves names as they are.
        check: function `(dict of tensors) -> text` of what is wrong with those that are ignored, or None.
        finish: function `(model)`, called at the end, for what no table says.
        network: dict, fields of `TrainConfig` that build the same network, or {} if there are none.
    """

    source: str
    build: Callable
    table: Mapping
    marker: str
    classes: str
    preprocessing: Preprocessing
    ignored: tuple = (COUNTERS,)
    endings: Mapping = dataclasses.field(default_factory=lambda: PYTORCH)
    classes_axis: int = 0
    rename: Callable | None = None
    check: Callable | None = None
    finish: Callable | None = None
    network: Mapping = dataclasses.field(default_factory=dict)

    def make(self, num_classes, input_shape):
        """The network, of arguments that a user gave. Raises: ValueError: that names the wrong one."""
        check_count("num_classes", num_classes)
        return self.build(num_classes=num_classes, input_shape=check_input_shape(input_shape, min_size=1))

    def named(self, tensors):
        """Tensors under the names that the table uses; one whose name another tensor has too keeps its own."""
        if self.rename is None:
            return tensors
        found = {}
        for name, value in tensors.items():
            wanted = self.rename(name)
            found[name if wanted in found else wanted] = value
        return found


def fill(model, tensors, layout, path, architecture):
    """Put the tensors of a state dict into the weights of a network, all or none.

    Args:
        model: `keras.Model` that `layout.build` made; changed.
        tensors: dict, name -> array, as `layout.named` gives them.
        layout: `Layout`.
        path: of the file, for messages.
        architecture: str, for messages.

    Returns: tuple of the names that were ignored.
    Raises: ValueError: if tensors are missing, left over, of another shape or kind, or not finite: all are listed.
    """
    ignored = tuple(name for name in tensors if any(re.fullmatch(rule, name) for rule in layout.ignored))
    wanted = weights_wanted(model, layout)
    missing = [name for name, _, _ in wanted if name not in tensors]
    used = {name for name, _, _ in wanted} | set(ignored)
    left_over = [name for name in tensors if name not in used]
    misshapen, unusable = [], []
    for name, weight, conversion in wanted:
        array = tensors.get(name)
        if array is None:
            continue
        if array.shape not in (shapes := conversion.shapes(tuple(weight.shape))):
            misshapen.append(f"{name} is {array.shape}, must be {shapes[0]}")
        elif array.dtype.kind != "f":
            unusable.append(f"{name} has numbers of the kind {array.dtype}")
        elif not np.isfinite(array).all():
            unusable.append(f"{name} has numbers that are NaN or infinite")
    wrong = layout.check({name: tensors[name] for name in ignored}) if layout.check else None
    problems = [
        *_listed("missing", missing),
        *_listed("left over", left_over),
        *_listed("of another shape", misshapen),
        *_listed("not usable", unusable),
        *([wrong] if wrong else []),
    ]
    if problems:
        raise UserError(
            f"path: {path} does not fit {architecture} as {layout.source} stores it. " + " ".join(problems) + " Give "
            "another network as `architecture`."
        )
    for name, weight, conversion in wanted:
        weight.assign(conversion.convert(np.asarray(tensors[name], "float32"), tuple(weight.shape)))
    if layout.finish:
        layout.finish(model)
    return ignored


def without_top(model, layout):
    """`(Model, names of tensors)`: a network up to the layer of its classes, and the tensors of that layer."""
    wanted = weights_wanted(model, layout)
    top = next(weight for name, weight, _ in wanted if name == layout.classes)
    (layer,) = (one for one in model.layers if any(weight is top for weight in one.weights))
    names = tuple(name for name, weight, _ in wanted if any(weight is one for one in layer.weights))
    return keras.Model(model.inputs, layer.input, name=model.name), names


def weights_wanted(model, layout):
    """`(name of the tensor, variable, Conversion)` of every weight of a model.

    Raises: ValueError: if the table has nothing for a layer: a fault of the table.
    """
    found = []
    for layer in model.layers:
        if not layer.weights:
            continue
        source, endings = find_source(layout.table, layer.name), layout.endings.get(_kind(layer))
        if source is None or endings is None:
            raise ValueError(f"the table of {layout.source} has nothing for the layer {layer.name}")
        for weight in layer.weights:
            ending, conversion = endings[weight.name]
            name = source[weight.name] if isinstance(source, dict) else _joined(source, ending, layout)
            found.append((name, weight, conversion))
    return found


def _kind(layer):
    is_norm = isinstance(layer, keras.layers.BatchNormalization)
    return "BatchNormalization" if is_norm else type(layer).__name__


def _joined(source, ending, layout):
    return f"{source}{'.' if layout.endings is PYTORCH else '/'}{ending}"


def _listed(what, names):
    if not names:
        return []
    count = f"{len(names)} tensor{'s are' if len(names) > 1 else ' is'}"
    return [f"{count} {what}: {listed(names, _SHOWN)}."]
