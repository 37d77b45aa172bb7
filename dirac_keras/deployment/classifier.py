"""What a classifier of images takes and gives."""

import keras

from dirac_keras.errors import UserError
from dirac_keras.failures import CHANNELS_FIRST

TRAIN_A_HEAD = "`dirac-keras train --family file --start FILE --data NAME --workdir DIR` adds one."
_FEATURES = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
)


def image_shape_of(model):
    """`(height, width, channels)` of a classifier of images; open sides are None.

    Raises: ValueError: if the model is not built, or takes or gives something else.
    """
    try:
        taken, given = model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        raise UserError(f"model {model.name} is not built: call it once on images, save it again.") from None
    outputs = getattr(model, "outputs", None) or [None]
    if len(outputs) > 1:
        raise UserError(
            f"model {model.name} has {len(outputs)} outputs ({', '.join(model.output_names)}); a classifier has one. "
            f'Save the part that you mean: keras.Model(model.inputs, model.outputs[0]).save("NAME.keras").'
        )
    inputs = getattr(model, "inputs", None) or [None]
    if len(inputs) > 1:
        raise UserError(
            f"model {model.name} has {len(inputs)} inputs ({', '.join(one.name for one in inputs)}); a classifier of "
            "images has one. As it is it can be exported in float32 and float16, without `calibration`."
        )
    taken, given = _one(taken), _one(given)
    if _is_shape(taken, 4) and _is_shape(given, 4):
        raise UserError(
            f"model {model.name} gives {given}, features at each place and no (batch, classes): it has no layer of "
            f"classes. {TRAIN_A_HEAD}"
        )
    if not (_is_shape(taken, 4) and _is_shape(given, 2) and given[-1]):
        raise UserError(
            f"model {model.name} must take (batch, height, width, channels) images and give (batch, classes). "
            f"It takes {taken} and gives {given}."
        )
    first, last = taken[1], taken[-1]
    if last is None or (first in (1, 3, 4) and last not in (1, 2, 3, 4)):
        raise UserError(
            f"model {model.name} takes images of shape {taken[1:]}, channels first; images are fed with channels last. "
            f"Put a keras.layers.Permute((3, 1, 2)) before it and save that. {CHANNELS_FIRST}."
        )
    return taken[1:]


def ends_in_features(model):
    """Whether the last layer only pools or flattens, as in a network without a layer of classes.

    So do some classifiers, whose last convolution has a filter for each class: it is no proof.
    """
    return bool(getattr(model, "layers", None)) and type(model.layers[-1]) in _FEATURES


def _one(shapes):
    """The shape in a list or dict of one."""
    if isinstance(shapes, (dict, list)) and len(shapes) == 1:
        return next(iter(shapes.values() if isinstance(shapes, dict) else shapes))
    return shapes


def _is_shape(shape, rank):
    return isinstance(shape, tuple) and len(shape) == rank and all(isinstance(s, (int, type(None))) for s in shape)


def find_units(model):
    """Numbers that a classifier gives for an image."""
    shape = keras.tree.flatten(model.output_shape)
    return shape[-1]


def find_classes(model):
    """Classes of a classifier: two for one unit."""
    return max(find_units(model), 2)
