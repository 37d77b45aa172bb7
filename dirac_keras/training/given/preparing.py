"""Any network made ready for a training: its images scaled as it knows them, its outputs the logits of the classes."""

import contextlib
import json
import logging

import keras
import numpy as np

from dirac_keras.deployment.feeding import choose_feed
from dirac_keras.errors import UserError, renaming
from dirac_keras.failures import CHANNELS_FIRST
from dirac_keras.files.keras_file import load_model
from dirac_keras.graph.functional import check_has_graph, with_open_models
from dirac_keras.graph.preprocessing import INPUT_SCALE
from dirac_keras.graph.sizes import in_words
from dirac_keras.graph.trace import trace
from dirac_keras.listing import apart
from dirac_keras.training.dropout import with_dropout
from dirac_keras.training.given.flattening import Flattening
from dirac_keras.training.given.head import find_head
from dirac_keras.training.tasks import LABELS, VALUES, task_of, with_values

logger = logging.getLogger("dirac_keras")
HEAD = "head_dense"  # as in the families, so that recipes and patterns mean it
POOL, SCALE, IMAGES = "head_pool", INPUT_SCALE, "images"


def weights_of_file(config, spec, model):
    """The weights of the file that `start` names, for the model that was made of it; what was done to it is logged.

    Args:
        config: `TrainConfig` of family "file".
        spec: of its data.
        model: `keras.Model` of `network_text`.

    Returns: list of arrays in the order of `model.weights`.
    """
    source, said = prepared(config, spec, "float32")
    for line in said:
        logger.info("start: %s", line)
    values = {weight.path: keras.ops.convert_to_numpy(weight) for weight in source.weights}
    return [values[weight.path] for weight in model.weights]


def prepared(config, spec, policy):
    """The network of the file that `start` names, ready to be trained on some data.

    Models in it are opened. Its images are scaled to what it was trained with by a first layer, where that is known. A
    softmax at its end goes, as the loss takes logits. Its layer of the classes stays if it gives as many and no other
    ones are known, else another takes its place; a network that ends in features gets one. Where `config.image_size`
    asks for another size than the network was built for, it is made again for that size, with the same weights.

    Args:
        config: `TrainConfig` of family "file".
        spec: of its data, with `image_shape` and `num_classes`.
        policy: str, Keras' dtype policy.

    Returns: `(model, lines)`: `keras.Model` with the weights of the file, and what was done to it.
    Raises: UserError: if the file cannot be read, the network is none of images with one output, or none of this size
        and cannot be made one: its weights depend on it, as those of a dense layer behind `Flatten`.
    """
    keras.utils.set_random_seed(config.seed)
    source, metadata = _loaded(config.start)
    built_for = _other_size(source, spec, config)
    graph = _traced(source, spec, config, built_for)
    head = find_head(graph, graph.producer[graph.outputs[0]].output_shapes[0][-1])
    why_new = _why_new_head(head, metadata.get("data"), spec)
    layer = None if head.call is None else head.call.operation
    kept = {} if why_new else {id(layer): HEAD}
    flattening = Flattening(graph, policy, kept, kept.keys(), kept.keys(), (HEAD, POOL, SCALE, IMAGES))
    inputs = keras.Input(spec.image_shape, dtype="float32", name=IMAGES)
    x, scaled = _scaled(inputs, source, metadata.get("data"), spec, config, policy)
    try:
        with _resizing(built_for, spec):
            if why_new:
                end = graph.outputs[0] if head.call is None else head.call.inputs[0]
                outputs = _new_head(flattening.run(x, end), spec, policy, source)
            else:
                outputs = _as_vector(flattening.run(x, graph.outputs[0], head.left_out), source)
            model = keras.Model(inputs, outputs, name=source.name)
            flattening.copy_weights()
    except UserError as error:
        raise UserError(f"start: {config.start}: {error}") from error
    if config.dropout:
        model = with_dropout(model, config.dropout, config.seed)
    if why_new and task_of(spec) == VALUES:
        model = keras.Model(inputs, with_values(model, spec).outputs[0], name=source.name)
    return model, [_summary(config, model, head, why_new), *_of_size(built_for, spec), scaled, *_of_layers(graph)]


def _loaded(path):
    try:
        source, metadata = load_model(path, compiled=False)
        check_has_graph(source)
    except UserError as error:
        said = str(error).removeprefix("path: ").removeprefix("model ")
        for option in ("imports=MODULE", "unsafe=True"):
            if option in said:  # which a training has not: it would need them in every command on the run
                said = said.split(" Give the module")[0].split(" If you trust")[0]
                said += (
                    " A training takes Keras' own layers, and classes that are registered where `train` is called in "
                    "Python (keras.saving.register_keras_serializable); write a Lambda as such a class, or with "
                    "operations of keras.ops."
                )
        raise UserError(f"start: {said}") from error
    return source, metadata


def _other_size(source, spec, config):
    """The shape of the images that a network was built for, if it is to be made again for others; None if it need not.

    Raises: UserError: if the network takes no images as those of the data, and their size is not asked for.
    """
    shapes = [tuple(tensor.shape) for tensor in source.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(source.outputs) != 1:
        raise UserError(
            f"start must be a network of one input, (batch, height, width, channels) images, and one output. Received "
            f"{config.start}, '{source.name}', which takes {_listed(shapes)} and gives "
            f"{_listed([tuple(tensor.shape) for tensor in source.outputs])}. Save the part that you mean: "
            'keras.Model(model.inputs[0], model.outputs[0]).save("NAME.keras").'
        )
    *sides, channels = shapes[0][1:]
    own, theirs = tuple(spec.image_shape), shapes[0][1:]
    if all(side in (None, here) for side, here in zip(theirs, own, strict=True)):
        return None
    is_size = channels in (None, own[-1]) and None not in sides
    if is_size and config.image_size is not None:
        return theirs
    if theirs[0] in (1, 3) and channels not in (None, 1, 3):
        way_out = (
            "Its channels come first, and those of images here last: put a keras.layers.Permute((3, 1, 2)) before it "
            f"and save that. {CHANNELS_FIRST}."
        )
    elif channels not in (None, own[-1]) and channels not in (1, 3):
        way_out = "Give data of so many channels, or put a layer before the network that makes them."
    elif None in sides or sides[0] == sides[1]:
        fields = [f"channels={channels}"] if channels not in (None, own[-1]) else []
        side = next((side for side in sides if side is not None), None)
        fields += [f"image_size={side}"] if side is not None and {side} != {*own[:2]} else []
        way_out = f"Give `{'` and `'.join(fields)}`: the images are read so."
    else:
        way_out = "Give images of this size, or save the network with an open one, keras.Input((None, None, channels))."
    if is_size and own[0] == own[1]:
        way_out += f" Or give `image_size={own[0]}`: the network is made again for images of that size."
    raise UserError(
        f"start: {config.start}, '{source.name}', takes images of {_by(theirs)}; those of {spec.name} are {_by(own)}. "
        f"{way_out}"
    )


def _traced(source, spec, config, built_for):
    try:
        with _resizing(built_for, spec):
            own = source if built_for is None else with_open_models(source)
            return trace(own, [(None, *spec.image_shape)])
    except UserError as error:
        raise UserError(f"start: {config.start}: {error}") from error
    except Exception as error:  # of whatever kind a layer raises
        raise UserError(
            f"start: {config.start}, '{source.name}', does not take images of {_by(spec.image_shape)} ({spec.name}): "
            f"{in_words(error)}. Give a larger `image_size`."
        ) from error


@contextlib.contextmanager
def _resizing(built_for, spec):
    """Within, whatever goes wrong with a network that is made again for another size is said to be that."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of whatever kind a layer raises
        if built_for is None:
            raise
        way_out = f"`image_size={built_for[0]}`" if built_for[0] == built_for[1] else "images of that size"
        raise UserError(
            f"the network was built for images of {_by(built_for)} and cannot be made again for "
            f"{_by(spec.image_shape)}: {in_words(error)}. Give {way_out}."
        ) from error


def _of_size(built_for, spec):
    if built_for is not None:
        yield (
            f"it was built for images of {_by(built_for)} and is made again for {_by(spec.image_shape)}, with the same "
            "weights"
        )


def _why_new_head(head, data, spec):
    """In words, or None if the head's weights are those of the same classes, labels or values."""
    task = task_of(spec)
    if head.call is None:
        return "the network ends in features"
    if head.units != spec.num_classes:
        return f"it gave {head.units} numbers, the data have {spec.num_classes}"
    if task == LABELS and head.kind in ("softmax", "log_softmax"):
        return "it gave one of its classes, the data have several labels"
    if task == VALUES and head.kind != "logits":
        return "it gave probabilities, the data have values"
    names, here = (data or {}).get("class_names"), getattr(spec, "class_names", None)
    if names and here and list(names) != list(here):
        return f"the classes have other names ({apart(names, here)})"
    return None


def _scaled(inputs, source, data, spec, config, policy):
    """The images as the network knows them, and what is said of it."""
    mean, std = getattr(spec, "mean", None), getattr(spec, "std", None)
    if mean is None or std is None:
        return inputs, "its images are fed as the data give them"
    try:
        with renaming(input="start_input"):
            feed = choose_feed(source, spec.image_shape[-1], data, config.start_input, (mean, std))
    except UserError:
        if config.start_input is not None:
            raise
        return inputs, (
            "neither the file nor the first layers say what its images are scaled to: they come standardized by the "
            f"mean and deviation of {spec.name}. If it knows others, give `start_input`: pixels (0 to 255), unit (0 to "
            "1), symmetric (-1 to 1) or MEANS/DEVIATIONS"
        )
    scale = np.asarray(std, "float64") / np.asarray(feed.std, "float64")
    offset = (np.asarray(mean, "float64") - np.asarray(feed.mean, "float64")) / np.asarray(feed.std, "float64")
    if np.allclose(scale, 1.0) and np.allclose(offset, 0.0):
        return inputs, f"its images are {feed.text}"
    policy = "float32" if policy.startswith("mixed_") else policy  # pixels of 0 to 255 have more digits than bfloat16
    layer = keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype=policy, name=SCALE)
    return layer(inputs), f"its images are {feed.text}; the layer '{SCALE}' gives it those"


def _new_head(x, spec, policy, source):
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=POOL, data_format="channels_last")(x)
    _check_vector(x, source)
    dtype = "float32" if policy.startswith("mixed_") else policy
    return keras.layers.Dense(spec.num_classes, dtype=dtype, name=HEAD)(x)


def _as_vector(x, source):
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=POOL, data_format="channels_last", dtype=x.dtype)(x)
    _check_vector(x, source)
    return x


def _check_vector(x, source):
    if len(x.shape) != 2 or x.shape[-1] is None:
        raise UserError(
            f"'{source.name}' has no layer of classes that can be replaced: before its end it gives {tuple(x.shape)}, "
            "neither (batch, features) nor (batch, height, width, channels). Save the part up to its features: "
            'keras.Model(model.inputs[0], FEATURES).save("NAME.keras").'
        )


def _summary(config, model, head, why_new):
    layers = sum(1 for layer in model.layers if layer.weights)
    text = f"{config.start}, the network as it stands in the file, {layers} layers with weights"
    if why_new:
        return f"{text}; '{HEAD}' begins anew: {why_new}"
    gone = "" if head.kind == "logits" else f", without its {head.kind}"
    own = head.call.path
    return f"{text}; '{own}' is kept as '{HEAD}'{gone}, as its classes are as many"


def _of_layers(graph):
    """What the file says of its layers that another training may not expect."""
    layers = list({id(call.operation): call.operation for call in graph.calls}.values())
    layers = [layer for layer in layers if isinstance(layer, keras.layers.Layer)]
    frozen = sum(1 for layer in layers if layer.weights and not layer.trainable)
    if frozen:
        yield f"{frozen} of its layers are frozen in the file; here those of `freeze` are, and no others"
    names = ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "depthwise_regularizer")
    regularized = sum(1 for layer in layers if any(getattr(layer, name, None) is not None for name in names))
    if regularized:
        yield f"{regularized} of its layers have regularizers, which add to the loss beside `weight_decay`"


def _by(shape):
    return " x ".join("any" if side is None else str(side) for side in shape)


def _listed(shapes):
    return json.dumps([list(shape) for shape in shapes])[1:-1]
