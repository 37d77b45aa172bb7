"""`explain(model, images)`: which parts of the images the score of a class rests on."""

import dataclasses
import logging

import keras
import numpy as np

from dirac_keras.deployment.heads import are_probabilities
from dirac_keras.errors import UserError, check_choice
from dirac_keras.explanation.gradcam import gradcam
from dirac_keras.explanation.integrated import integrated_gradients, until_complete
from dirac_keras.explanation.network import ScoredNetwork
from dirac_keras.explanation.occlusion import occlusion
from dirac_keras.explanation.places import choose_place, find_places
from dirac_keras.explanation.result import Explanation
from dirac_keras.explanation.scores import choose_targets

logger = logging.getLogger("dirac_keras")
# Method -> options that it takes.
METHODS = {
    "gradcam": ("layer",),
    "integrated_gradients": ("baseline", "steps"),
    "occlusion": ("baseline", "window", "stride"),
}
OWN_MOST_STEPS = 1024
STEPS = 64  # 20 to 300 do, Sundararajan et al. 2017, section 5
ALLOWED_GAP = 0.05  # of the difference; the same section's advice
WINDOWS_A_SIDE = 8  # of occlusion, without overlap
MOST_STEPS = 10_000


def explain(
    model,
    images,
    method="gradcam",
    target=None,
    *,
    layer=None,
    baseline=None,
    steps=None,
    window=None,
    stride=None,
    class_names=None,
    task=None,
    outputs=None,
    batch_size=16,
):
    """Which parts of images the score of a class rests on.

    | method | what a map holds | options |
    |---|---|---|
    | `gradcam` | a layer's channels over its positions, weighed by the mean gradient of the score; at least 0 | `layer` |
    | `integrated_gradients` | what each pixel adds to the score on the way from `baseline`; sums to the difference | `baseline`, `steps` |
    | `occlusion` | how far the score falls when a window over the pixel shows `baseline` | `baseline`, `window`, `stride` |

    The score is the class's number in front of the last softmax or sigmoid, which is taken off wherever it stands; the
    first of two classes of one unit has the unit's score with the other sign. All is computed in float32 and at
    inference: layers that augment, drop or average over batches do nothing. `gradcam` and `integrated_gradients` need
    the tensorflow or the jax backend.

    Args:
        model: built `keras.Model` with one input and one output `(batch, classes)`: Functional, Sequential, models in
            models, layers of layers. It is not changed.
        images: array `(batch, height, width, channels)`, scaled as the model is fed.
        method: one of the table.
        target: name or number of the class that is explained, of all images, or a list of one for each; None: the
            likeliest of each image.
        layer: path of the layer, as in `backbone/block/conv`, or its end where only one has it; None: the last one with
            more than one position.
        baseline: number, or array that broadcasts with `images`, in the units of `images`: what is no information. None:
            0, the mean image where images are standardized, black where they are 0 to 1 or pixels.
        steps: int, parts of the way; None: 64, and twice as many up to 1,024 for an image whose attributions miss more
            than 5 % of the difference of the scores.
        window, stride: int or pair of int, pixels. None: an eighth of each side, and half of the window.
        class_names: list of str, or None: the classes' numbers.
        task: `"classes"`, of which one is right, `"labels"`, of which several may be, or `"values"`: numbers that are no
            classes, of which `target` chooses one; None: what the last layers say, else classes.
        outputs: `"logits"` or `"probabilities"`, where the last layers do not say it; or None.
        batch_size: int, images in one pass through the model.

    Returns: `Explanation`.
    Raises: ValueError: if an argument does not fit, or the method cannot look at such a model; the message says which
        can. RunError: if the model does something that its layers do not show.
    Source: Selvaraju et al. 2017, arXiv:1610.02391; Sundararajan et al. 2017, arXiv:1703.01365; Zeiler & Fergus 2014,
        arXiv:1311.2901.

    Example:
    >>> found = dirac_keras.explain(model, images, target="cat", class_names=names)
    >>> found.maps.shape, found.layer
    ((8, 224, 224), 'conv5_block3_out')
    """  # noqa: E501
    options = {"layer": layer, "baseline": baseline, "steps": steps, "window": window, "stride": stride}
    _check_options(method, options)
    images = check_images(images)
    network = ScoredNetwork(model, images, task, outputs, _whole(batch_size, "batch_size"))
    rows = network.measure(images)
    scores = network.scores
    if not scores.is_known and scores.has_probabilities and are_probabilities(rows):
        network.scores = scores = dataclasses.replace(scores, is_score=False)
    targets = choose_targets(target, scores, rows, class_names)
    # The largest of several values says nothing: they have units of their own.
    predicted = choose_targets(None, scores, rows, class_names) if scores.has_probabilities else targets
    if not scores.is_score:
        logger.warning("no score in front of the model's last step can be read: its output itself is explained")
    likely = scores.probabilities(rows)
    places = np.arange(len(images))
    common = {
        "method": method,
        "targets": tuple(map(int, targets)),
        "predicted": tuple(map(int, predicted)),
        "names": tuple(map(str, class_names or range(scores.classes))),
        "scores": tuple(map(float, keras.ops.convert_to_numpy(scores.of_targets(rows, targets)))),
        "probabilities": None if likely is None else tuple(map(float, likely[places, targets])),
        "is_score": scores.is_score,
    }
    return Explanation(**common, **_RUN[method](network, images, targets, options))


def check_images(images):
    """Images as a finite array `(batch, height, width, channels)`.

    Raises: ValueError: if they are none.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not images.size or images.dtype.kind not in "iuf":
        hint = " Give images[None] for one image." if images.ndim == 3 else ""
        raise UserError(
            f"images must be an array (batch, height, width, channels) of numbers. Received {images.dtype} of shape "
            f"{images.shape}.{hint}"
        )
    if not np.isfinite(images).all():
        raise UserError("images hold values that are not finite (NaN or infinite).")
    return images


def _gradcam(network, images, targets, options):
    place = choose_place(
        find_places(network.calls, network.graph, network.scores.tensor), options["layer"], network.name
    )
    coarse = gradcam(network, place, images, targets)
    return {"maps": _enlarged(coarse, images.shape[1:3]), "coarse": coarse, "layer": place.name}


def _integrated(network, images, targets, options):
    start, told = _baseline(options["baseline"], images)
    if options["steps"] is None:
        found, taken = until_complete(network, images, targets, start, STEPS, OWN_MOST_STEPS, ALLOWED_GAP)
        steps, most = taken.tolist(), OWN_MOST_STEPS
    else:
        steps = most = _whole(options["steps"], "steps", MOST_STEPS)
        found = integrated_gradients(network, images, targets, start, steps)
    shares = found.missed()
    if (far := np.flatnonzero(shares > ALLOWED_GAP)).size:
        logger.warning(
            "integrated_gradients: the attributions of %d of %d images miss the difference of the scores by more than "
            "%.0f %%, by %.0f %% at most: give more `steps` than %d",
            *(far.size, len(images), 100 * ALLOWED_GAP, 100 * shares.max(), most),
        )
    return {
        "maps": found.attributions.sum(axis=-1),
        "attributions": found.attributions,
        "differences": tuple(map(float, found.differences)),
        "gaps": tuple(map(float, found.gaps)),
        "settings": {"steps": steps, "baseline": told},
    }


def _occlusion(network, images, targets, options):
    sides = images.shape[1:3]
    window = _pair(options["window"], "window", [-(-side // WINDOWS_A_SIDE) for side in sides])
    if any(one > side for one, side in zip(window, sides, strict=True)):
        raise UserError(f"window must fit into the images, {sides[0]}x{sides[1]}. Received {window[0]}x{window[1]}.")
    stride = _pair(options["stride"], "stride", [max(1, side // 2) for side in window])
    if any(one > side for one, side in zip(stride, window, strict=True)):
        raise UserError(
            f"stride must not exceed the window, {window[0]}x{window[1]}, or pixels would be left out. Received "
            f"{stride[0]}x{stride[1]}."
        )
    shown, told = _baseline(options["baseline"], images)
    if images.dtype.kind in "iu":
        limits = np.iinfo(images.dtype)
        shown = np.clip(np.rint(shown), limits.min, limits.max)
    drops, maps = occlusion(network, images, targets, shown.astype(images.dtype), window, stride)
    settings = {"window": list(window), "stride": list(stride), "baseline": told}
    return {"maps": maps, "coarse": drops, "settings": settings}


_RUN = {"gradcam": _gradcam, "integrated_gradients": _integrated, "occlusion": _occlusion}


def _check_options(method, options):
    check_choice("method", method, METHODS)
    for name, value in options.items():
        if value is not None and name not in METHODS[method]:
            takers = " and ".join(one for one, names in METHODS.items() if name in names)
            raise UserError(f"{name} is for {takers}. Received {name}={value!r} with method={method!r}.")


def _whole(value, name, most=2**20):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
        raise UserError(f"{name} must be a whole number from 1 to {most:,}. Received {name}={value!r}.")
    return int(value)


def _pair(value, name, default):
    if value is None:
        return tuple(default)
    sides = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(sides) != 2:
        raise UserError(f"{name} must be one side or a pair (height, width), pixels. Received {name}={value!r}.")
    return tuple(_whole(side, name) for side in sides)


def _baseline(value, images):
    """The baseline in the images' shape, and as JSON keeps it."""
    try:
        array = np.asarray(0.0 if value is None else value, "float64")
        spread = np.broadcast_to(array, images.shape)
    except (TypeError, ValueError):
        raise UserError(
            f"baseline must be a number or an array that fits images of shape {images.shape}. Received "
            f"{getattr(value, 'shape', value)!r}."
        ) from None
    if not np.isfinite(array).all():
        raise UserError("baseline holds values that are not finite (NaN or infinite).")
    return spread.astype("float32"), array.ravel().tolist() if array.size <= 4 else f"array of shape {array.shape}"


def _enlarged(coarse, sides):
    """Maps `(batch, rows, columns)` in the size of the images, bilinear."""
    larger = keras.ops.image.resize(coarse[..., None], sides, "bilinear", data_format="channels_last")
    return keras.ops.convert_to_numpy(larger)[..., 0]
