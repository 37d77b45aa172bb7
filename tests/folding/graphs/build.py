"""A random model from a source of decisions."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from dirac_keras.graph.trace import trace
from dirac_keras.precision import dtype_policy
from tests.folding.graphs import (  # noqa: F401 what registers parts
    composites,
    kernels,
    merges,
    nesting,
    normalizations,
    pointwise,
    positions,
    sequences,
)
from tests.folding.graphs.choices import Recorder, Replayed, SeededChoices
from tests.folding.graphs.site import Site, is_known
from tests.folding.graphs.starts import KINDS, start
from tests.folding.graphs.walk import add_parts
from tests.folding.graphs.weights import randomize

POLICIES = {"float32": 10, "float64": 4, "mixed_bfloat16": 2, "mixed_float16": 1, "float16": 1, "bfloat16": 1}
SIZES = (9, 17, 33, 65)  # of open lengths


@dataclass(frozen=True)
class RandomGraph:
    """A model and what it takes.

    Args:
        decisions: list of int, what `twin` needs to build the model again.
        starts: list of `starts.Start`, in the order of the model's inputs.
    """

    model: keras.Model
    policy: str
    decisions: list
    starts: list

    def inputs(self, seed=0, size=None):
        """Random arrays in the structure of the model's inputs."""
        random = np.random.default_rng(seed)
        arrays = [
            keras.ops.convert_to_tensor(start.values(random, shape), dtype=start.tensor.dtype)
            for start, shape in zip(self.starts, self.shapes(size), strict=True)
        ]
        is_sequential = isinstance(self.model, keras.Sequential)
        return arrays[0] if is_sequential else keras.tree.pack_sequence_as(self.model.input, arrays)

    def shapes(self, size=None):
        """Shapes without an open length, of the smallest size at which no tensor is empty."""
        return next(shapes for shapes in self._possible_shapes(size) if _is_full(self.model, shapes))

    def _possible_shapes(self, size):
        for length in SIZES if size is None else [size]:
            yield [
                tuple(
                    (4 if place == 0 else length) if side is None else side for place, side in enumerate(tensor.shape)
                )
                for tensor in self.model.inputs
            ]

    def twin(self):
        """The same model in float64, with the same weights."""
        twin = build(Replayed(self.decisions), precision="float64").model
        twin.set_weights([np.asarray(keras.ops.convert_to_numpy(x)) for x in self.model.weights])
        return twin


def from_seed(seed):
    """The random graph of a seed."""
    return build(SeededChoices(seed))


def build(choices, precision=None):
    """A random graph.

    Args:
        choices: source of decisions.
        precision: None, or the dtype in which everything is to compute.
    """
    recorder = Recorder(choices)
    policy = recorder.weighted(POLICIES)
    with dtype_policy(precision or policy):
        model, starts = _model(recorder, precision)
        randomize(model, recorder.integer(0, 2**16))
    return RandomGraph(model, policy, recorder.values, starts)


def _model(choices, precision):
    data_format = "channels_first" if choices.chance(0.1) else "channels_last"
    site = Site(choices, data_format, precision, is_mixed=choices.chance(0.2))
    batch = 3 if choices.chance(0.35) else None
    is_open = choices.chance(0.15)
    count = choices.pick([1, 1, 1, 2, 2, 3])
    has_names = choices.chance(0.3)
    starts = []
    for index in range(count):
        same = index and choices.chance(0.5)
        kind = kind if same else choices.weighted(KINDS)  # noqa: F821 set by the first round
        starts.append(start(site, kind, batch, is_open, name=f"input_{'abc'[index]}" if has_names else None))
    tensors = [start.first for start in starts]
    trunk = add_parts(site, tensors, choices.integer(2, 9))
    for first in tensors[:-1]:  # what was an input and is not used yet joins
        trunk = add_parts(site, [*trunk, _joined(site, trunk[-1], first)], choices.integer(0, 2))
    outputs = [trunk[-1]]
    if choices.chance(0.25):
        outputs.append(trunk[choices.integer(0, len(trunk) - 1)])
    inputs = [start.tensor for start in starts]
    outputs = list({id(y): y for y in outputs}.values())
    if len(inputs) == 1 and choices.chance(0.3):
        inputs = inputs[0]
    elif has_names and choices.chance(0.4):
        inputs = {tensor.name: tensor for tensor in inputs}
    if len(outputs) == 1:
        outputs = outputs[0]
    elif choices.chance(0.4):
        outputs = {f"output_{'ab'[place]}": y for place, y in enumerate(outputs)}
    model = _in_sequence(choices, inputs, outputs) or keras.Model(inputs, outputs)
    order = {id(start.tensor): start for start in starts}
    return model, [order[id(tensor)] for tensor in model.inputs]


def _in_sequence(choices, inputs, outputs):
    """The graph as a Sequential model, if it is a chain of layers and the choice is made; else None."""
    inputs = keras.tree.flatten(inputs)
    if len(inputs) > 1 or isinstance(outputs, (list, dict)) or choices.chance(0.3):
        return None
    model = keras.Model(inputs, outputs)
    chain = [operation for operation in model.operations if not isinstance(operation, layers.InputLayer)]
    is_chain = all(isinstance(layer, layers.Layer) and len(layer._inbound_nodes) == 1 for layer in chain)
    is_chain = is_chain and all(len(layer._inbound_nodes[0].input_tensors) == 1 for layer in chain)
    tensor = inputs[0]
    for layer in chain if is_chain else ():
        is_chain = is_chain and layer._inbound_nodes[0].input_tensors[0] is tensor
        tensor = layer.output if is_chain else None
    if not is_chain or not chain or tensor is not outputs:
        return None
    model = keras.Sequential([inputs[0], *chain])
    return model if hasattr(model, "inputs") else None  # of some layers Keras makes no graph


def _joined(site, x, y):
    """Both tensors as one: of the same shape by a merge, others as vectors."""
    if x.shape == y.shape and x is not y:
        return merges.merge(site, [_float(site, x), _float(site, y)])
    return layers.Concatenate()([_vector(site, x), _vector(site, y)])


def _vector(site, x):
    x = _float(site, x)
    if len(x.shape) == 2:
        return x
    if is_known(x) and np.prod(x.shape[1:]) <= 200:
        return layers.Flatten()(x)
    return kernels.of_rank("GlobalAveragePooling{}", x)(data_format=site.data_format)(x)


def _float(site, x):
    return x if "float" in x.dtype else keras.ops.cast(x, site.precision or "float32")


def _is_full(model, input_shapes):
    try:
        calls = trace(model, input_shapes).calls
    except ValueError:  # a size that a layer refuses
        return False
    return all(0 not in shape for call in calls for shape in call.output_shapes)
