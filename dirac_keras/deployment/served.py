"""A network as it serves: with the preprocessing of images before it, and probabilities after it."""

import keras

from dirac_keras.deployment.feeding import input_type

INPUT, LOGITS, PROBABILITIES, VALUES = "images", "logits", "probabilities", "values"


def build_served(model, spec, head, batch=None, outputs=(LOGITS, PROBABILITIES), input_type="uint8"):
    """A Functional model around a classifier: pixels in, logits and probabilities out.

    The preprocessing is two operations, `image * (1 / std) - mean / std` for each channel; of a model that takes pixels
    it is none. A model that gives probabilities has no logits.

    Args:
        model: `keras.Model` that computes in float32; one input, images with channels last; one output.
        spec: `ImageSpec`.
        head: `heads.Head`.
        batch: int, the samples that it takes at once; None: as many as are given.
        outputs: of `"logits"` and `"probabilities"`, those that are wanted. A model without logits gives the others.
        input_type: `"uint8"`, or `"float32"` for pixels as floats, which a converter makes integers of.

    Returns: `keras.Model`: input `images`, `(batch, *image_shape)`; outputs in a dict by name, float32.
    """
    images = keras.Input(batch_shape=(batch, *spec.image_shape), dtype=input_type, name=INPUT)
    given = call_network(model, _scaled(model, images, spec))
    (given,) = keras.tree.flatten(given)
    if keras.backend.standardize_dtype(given.dtype) != "float32":
        given = keras.ops.cast(given, "float32")
    return keras.Model(images, name_outputs(given, head, outputs), name="served")


def output_names(head, outputs=(LOGITS, PROBABILITIES)):
    """Names of what `build_served` gives."""
    if head.gives in (PROBABILITIES, VALUES):
        return (head.gives,)
    return tuple(name for name in (LOGITS, PROBABILITIES) if name in outputs)


def call_network(model, value):
    """The model on one tensor, packed as the model's input is; layers that augment are not active."""
    if getattr(model, "inputs", None) and not isinstance(model, keras.Sequential):
        value = keras.tree.pack_sequence_as(model.input, [value])
    return model(value, training=False)


def _scaled(model, images, spec):
    takes = input_type(model)
    if "float" not in takes:
        return images if takes == images.dtype else keras.ops.cast(images, takes)
    scale = tuple(1.0 / std for std in spec.std)
    offset = tuple(-mean / std for mean, std in zip(spec.mean, spec.std, strict=True))
    if {*scale} == {1.0} and {*offset} == {0.0}:
        scaled = images if images.dtype == "float32" else keras.layers.Activation("linear", dtype="float32")(images)
    else:
        same = len({*scale}) == len({*offset}) == 1
        scaled = keras.layers.Rescaling(
            scale[0] if same else scale, offset[0] if same else offset, dtype="float32", name="preprocessing"
        )(images)
    return scaled if takes == "float32" else keras.ops.cast(scaled, takes)


def name_outputs(given, head, outputs=(LOGITS, PROBABILITIES)):
    """What a classifier gives, as a dict of what is wanted of logits and probabilities."""
    wanted = output_names(head, outputs)
    if head.gives == VALUES:
        return {VALUES: given}
    named = {LOGITS: given} if LOGITS in wanted else {}
    if PROBABILITIES not in wanted:
        return named
    if head.is_binary:
        second = given if head.gives == PROBABILITIES else keras.layers.Activation("sigmoid", dtype="float32")(given)
        first = keras.layers.Rescaling(-1.0, 1.0, dtype="float32")(second)  # 1 - p
        return named | {PROBABILITIES: keras.layers.Concatenate(dtype="float32")([first, second])}
    if head.gives == PROBABILITIES:
        return named | {PROBABILITIES: given}
    if head.task == "labels":
        sigmoid = keras.layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)
        return named | {PROBABILITIES: sigmoid(given)}
    return named | {PROBABILITIES: keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(given)}
