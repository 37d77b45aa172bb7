"""What a network's images are scaled to: told by its file, by its own layers, or by the user."""

import dataclasses
import logging

import keras
import numpy as np

from dirac_keras.deployment.classifier import find_classes, find_units, image_shape_of
from dirac_keras.deployment.heads import task_of
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.errors import UserError
from dirac_keras.graph.inputs import fixed_batch
from dirac_keras.graph.preprocessing import INPUT_SCALE, find_preprocessing
from dirac_keras.listing import listed

logger = logging.getLogger("dirac_keras")

STANDARDIZED = "standardized"
# Name -> mean and standard deviation, in units of 0 to 255, and what the pixels become.
SCALES = {
    "pixels": (0.0, 1.0, "0 to 255"),
    "unit": (0.0, 255.0, "0 to 1"),
    "symmetric": (127.5, 127.5, "-1 to 1"),
}
INPUTS = (*SCALES, STANDARDIZED)
HOW = (
    '`input="pixels"` (0 to 255), `input="unit"` (0 to 1), `input="symmetric"` (-1 to 1), `input="standardized"` '
    "(mean 0, deviation 1), or MEANS/DEVIATIONS of the channels in units of 0 to 255, as in 124,117,104/58,57,57"
)


@dataclasses.dataclass(frozen=True)
class Feed:
    """How images are scaled for a network: `(image - mean) / std`.

    Attributes:
        mean, std: tuple of float, one for each channel, in units of 0 to 255.
        text: str, what is fed and why, as in "pixels (0 to 255): the model scales them itself (layer 'rescaling')".
    """

    mean: tuple
    std: tuple
    text: str


def choose_feed(model, channels, data=None, input=None, of_data=None, default=None):
    """What to feed a network of images with.

    What the user says comes first, then what the file says it was trained with, then what its first layers do.

    Args:
        model: `keras.Model` with one input, images.
        channels: int.
        data: dict `metadata["data"]` of its file, or None.
        input: `"pixels"`, `"unit"`, `"symmetric"`, `"standardized"`, `"MEANS/DEVIATIONS"`, or None.
        default: taken as `input`, with a warning, where nothing says it; None asks.
        of_data: `(mean, std)` of the data set at hand, for `"standardized"` where the file has none.

    Returns: `Feed`; what speaks against it is logged as a warning.
    Raises: ValueError: if nothing says it, or `input` does not fit.
    """
    known = (tuple(data["mean"]), tuple(data["std"])) if data and {"mean", "std"} <= set(data) else None
    takes = input_type(model)
    found = find_preprocessing(model)
    if input is not None:
        feed = _asked(input, channels, known, of_data)
    elif known is not None:
        feed = Feed(*known, f"{_describe(*known)}, as in its training")
    elif not _is_float(takes):
        feed = _scaled("pixels", channels, f"the model takes {takes}")
    elif found is not None and found.expects is not None:
        feed = _scaled(found.expects, channels, f"the model scales them itself ({_name(found.layers)})")
    elif default is not None:
        feed = _asked(default, channels, known, of_data)
        logger.warning("neither the model's file nor its layers say what its images are scaled to; if not so: %s", HOW)
    else:
        raise UserError(
            "input: neither the model's file nor its layers say what its images are scaled to. Give what it was "
            f"trained with: {HOW}."
        )
    is_ours = found is not None and INPUT_SCALE in found.layers  # it takes what its training's images were scaled to
    _check_fit(feed, channels, takes, None if is_ours and (feed.mean, feed.std) == known else found)
    return feed


def fed_data(model, data=None, input=None, labels=None, image_size=None, max_pixels=None):
    """What `metadata["data"]` must say for a model to be fed with image files; what it lacks is worked out.

    Args:
        model: classifier of images, with one input and one output.
        data: dict `metadata["data"]` of its file, or None.
        input: as in `choose_feed`.
        labels: list of class names, or None: those of `data`, else the classes' numbers.
        image_size: pixels, `(height, width)`, where the model leaves them open; or None.
        max_pixels: pixels of the largest image file that is decoded; or None: as in `data`, else the decoder's own.

    Returns: `(dict, Feed)`; `data` as it is where nothing else is given.
    Raises: ValueError: if a size is open and not given, or the number of labels does not fit.
    """
    if data and input is None and labels is None and image_size is None and max_pixels is None:
        spec = ImageSpec.from_metadata({"data": data}, model)
        return data, choose_feed(model, spec.image_shape[-1], data)
    shape = tuple((data or {}).get("image_shape") or image_shape_of(model))
    if image_size is not None:
        own = image_shape_of(model)[:2]
        if any(side not in (None, given) for side, given in zip(own, image_size, strict=True)):
            raise UserError(f"image_size: the model takes {own[0]}x{own[1]}. Received {image_size[0]}x{image_size[1]}.")
        shape = (*image_size, shape[-1])
    if None in shape:
        raise UserError("image_size: the model leaves the size of its images open. Give `image_size`.")
    classes = find_classes(model) if task_of(data) == "classes" else find_units(model)
    names = labels or (data or {}).get("class_names") or [str(index) for index in range(classes)]
    if labels and len(labels) != classes:
        raise UserError(f"labels: the model has {classes} classes. Received {len(labels)} names.")
    feed = choose_feed(model, shape[-1], data, input)
    described = {
        **(data or {}),
        "image_shape": list(shape),
        "num_classes": len(names),
        "class_names": list(names),
        "mean": list(feed.mean),
        "std": list(feed.std),
    }
    if max_pixels is not None:
        described["max_pixels"] = max_pixels
    if not data:
        described["exif_orientation"] = True  # as viewers do; who trained the model may have done so too
    return {"resize": None, **described}, feed


def input_type(model):
    """The type of a model's first input, as text."""
    return keras.backend.standardize_dtype(model.inputs[0].dtype) if getattr(model, "inputs", None) else "float32"


def to_input(model, images):
    """Fed images as the model's input type: whole numbers for integers, which would cut the rest off."""
    dtype = input_type(model)
    images = np.asarray(images)
    if _is_float(dtype):
        return images
    limits = np.iinfo(dtype)
    return np.clip(np.rint(images), limits.min, limits.max).astype(dtype)


def batch_runner(model):
    """A function of images: `model.predict_on_batch`, also where the model fixes the size of its batch."""
    size = fixed_batch(model)  # found by reading the graph, so once for all batches

    def run(images):
        images = to_input(model, images)
        count = len(images)
        if size in (None, count):
            return _single(model.predict_on_batch(images))
        filled = np.concatenate([images, np.repeat(images[-1:], -count % size, axis=0)])
        parts = [_single(model.predict_on_batch(filled[start : start + size])) for start in range(0, len(filled), size)]
        return np.concatenate(parts)[:count]

    return run


def _single(outputs):
    (output,) = keras.tree.flatten(outputs)
    return np.asarray(output)


def _asked(input, channels, known, of_data):
    if input in SCALES:
        mean, std, becomes = SCALES[input]
        return Feed((mean,) * channels, (std,) * channels, f"{input} ({becomes}), as given")
    if input == STANDARDIZED:
        if (known or of_data) is None:
            raise UserError(
                'input: "standardized" needs the mean and deviation of the training images, which the file does not '
                'hold. Give them: `input="124,117,104/58,57,57"`, in units of 0 to 255.'
            )
        return Feed(*(known or of_data), f"{_describe(*(known or of_data))}, as given")
    try:
        mean, std = (tuple(float(part) for part in side.split(",")) for side in str(input).split("/"))
    except ValueError:
        raise UserError(f"input must be {HOW}. Received input={input!r}.") from None
    mean, std = (side * channels if len(side) == 1 else side for side in (mean, std))
    if not len(mean) == len(std) == channels or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise UserError(
            f"input must have one mean and one deviation above 0 for each of the {channels} channels. "
            f"Received input={input!r}."
        )
    return Feed(mean, std, f"{_describe(mean, std)}, as given")


def _scaled(name, channels, why):
    mean, std, becomes = SCALES[name]
    return Feed((mean,) * channels, (std,) * channels, f"{name} ({becomes}): {why}")


def _describe(mean, std):
    for name, (own_mean, own_std, becomes) in SCALES.items():
        if {*mean} == {own_mean} and {*std} == {own_std}:
            return f"{name} ({becomes})"
    means, deviations = (",".join(f"{value:.4g}" for value in side) for side in (mean, std))
    return f"standardized (mean {means}, deviation {deviations})"


def _check_fit(feed, channels, takes, found):
    is_pixels = {*feed.mean} == {0.0} and {*feed.std} == {1.0}
    if not _is_float(takes) and not is_pixels:
        raise UserError(
            f"input: the model takes {takes}, whole numbers, which are pixels (0 to 255). Leave `input` out. "
            f"Received {feed.text}."
        )
    if found is not None and found.expects == "pixels" and not is_pixels:
        logger.warning(
            'the model scales its images itself (%s) and seems to take pixels; `input="pixels"` feeds it with them',
            _name(found.layers),
        )
    if found is not None and found.expects == "unit" and (is_pixels or {*feed.std} != {255.0}):
        logger.warning(
            'the model scales its images itself (%s) and seems to take 0 to 1; `input="unit"` feeds it with that',
            _name(found.layers),
        )


def _name(layers):
    names = listed(layers)
    return f"layer{'s' if len(layers) > 1 else ''} {names}"


def _is_float(dtype):
    return "float" in dtype
