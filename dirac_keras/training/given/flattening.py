"""Any network as one flat graph: the layers of models in it stand beside the others, each made again."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.folding.copies import make_again
from dirac_keras.graph.casting import in_dtype
from dirac_keras.graph.live_configs import live_config
from dirac_keras.graph.names import unused_name
from dirac_keras.precision import dtype_policy


class Flattening:
    """The layers of a network made again, in another precision, and their calls run one after the other.

    Args:
        graph: `trace.Graph` of the network.
        policy: str, Keras' dtype policy of the layers.
        named: dict, id(layer) -> the name that it gets; others have theirs, joined to that of the model they were in.
        exact: set of id(layer), those that compute in float32 or more, whatever the policy.
        linear: set of id(layer), those whose activation goes.
        reserved: names that no other layer gets.
    """

    def __init__(self, graph, policy, named, exact, linear, reserved=()):
        self._graph, self._policy, self._named, self._exact, self._linear = graph, policy, named, exact, linear
        self._copies, self._taken = {}, {*reserved}
        self.pairs = []  # (layer, its copy)

    def run(self, inputs, until, without=frozenset()):
        """A tensor of the network for another input.

        Args:
            inputs: `KerasTensor` in the place of the network's input.
            until: number of the tensor that is wanted.
            without: set of id(operation), those that are passed over.
        """
        values = {self._graph.inputs[0]: inputs}
        for call in self._needed(until):
            if id(call.operation) in without:
                values[call.outputs[0]] = values[call.inputs[0]]
                continue
            args, kwargs = _arguments(call, values)
            copy = self._copy(call)
            values |= zip(call.outputs, keras.tree.flatten(copy(*args, **kwargs)), strict=True)
        return values[until]

    def copy_weights(self):
        """Give the layers the weights of those they were made of; random generators begin anew."""
        for layer, copy in self.pairs:
            if isinstance(copy, keras.layers.Layer) and copy.weights and type(copy) is type(layer):
                values = {weight.path.rpartition("/")[2]: weight for weight in layer.weights}
                names = [weight.path.rpartition("/")[2] for weight in copy.weights]
                if len(values) == len(layer.weights) and values.keys() >= {*names}:  # scales of float8 stay behind
                    weights = [values[name] for name in names]
                else:
                    weights = layer.weights
                _check_shapes(layer, copy, weights)
                copy.set_weights([keras.ops.convert_to_numpy(weight) for weight in weights])

    def _needed(self, until):
        """The calls that a tensor depends on, in their order."""
        wanted, needed = {until}, []
        for call in reversed(self._graph.calls):
            if wanted & {*call.outputs}:
                needed.append(call)
                wanted |= {*call.inputs}
        return needed[::-1]

    def _copy(self, call):
        key = id(call.operation)
        if key not in self._copies:
            try:
                copy = self._made(call)
            except UserError:
                raise
            except Exception as error:  # of whatever kind: get_config and from_config are the layer's own code
                raise UserError(
                    f"'{call.path}' ({type(call.operation).__name__}) cannot be made again from its configuration "
                    f"({type(error).__name__}: {str(error)[:200]}). Give its class a get_config and a from_config."
                ) from error
            self._copies[key] = copy
            self.pairs.append((call.operation, copy))
        return self._copies[key]

    def _made(self, call):
        layer = call.operation
        name = self._named.get(id(layer)) or unused_name(call.path, self._taken)
        if not isinstance(layer, keras.layers.Layer):
            copy = make_again(layer)
            copy.name = name
            return copy
        if getattr(layer, "quantization_mode", None) not in (None, "float8"):
            raise UserError(f"'{call.path}' is quantized to {layer.quantization_mode}, which cannot be trained. Give "
                            "the model before it was quantized.")  # fmt: skip
        policy = "float32" if id(layer) in self._exact and self._policy.startswith("mixed_") else self._policy
        if type(layer) is keras.layers.Normalization and layer.weights:
            return _fixed_normalization(layer, name, policy)
        config = in_dtype(live_config(layer), policy)
        # Keras' SpatialDropout takes no `trainable`, layers of others may take no `name`.
        config |= {key: value for key, value in {"name": name, "trainable": True}.items() if key in config}
        if id(layer) in self._linear:
            config["activation"] = "linear"
        with dtype_policy(policy):  # which layers in a layer may follow
            copy = type(layer).from_config(config)
        copy.name, copy.trainable = name, True  # the layers in it too
        return copy


def _check_shapes(layer, copy, weights):
    """Raise ValueError where a layer has weights of other shapes for the images that it is made again for."""
    for mine, theirs in zip(copy.weights, weights, strict=True):
        if tuple(mine.shape) != tuple(theirs.shape):
            raise ValueError(
                f"'{layer.name}' ({type(layer).__name__}) would have a {mine.name} of {tuple(mine.shape)} in place of "
                f"its {tuple(theirs.shape)}"
            )


def _arguments(call, values):
    sources = iter(call.inputs)
    return keras.tree.map_structure(
        lambda x: values[next(sources)] if isinstance(x, keras.KerasTensor) else x, (call.args, call.kwargs)
    )


def _fixed_normalization(layer, name, policy):
    """What an adapted Normalization does, with its numbers in the configuration: no training may move them."""
    mean, variance = (keras.ops.convert_to_numpy(value).reshape(-1) for value in (layer.mean, layer.variance))
    return keras.layers.Normalization(
        axis=layer.axis, mean=mean.tolist(), variance=variance.tolist(), invert=layer.invert, name=name, dtype=policy
    )
