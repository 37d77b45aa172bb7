"""A trained model on a data set, or on image files."""

import dataclasses
import logging

import keras
import numpy as np

from dirac_keras.deployment.classifier import TRAIN_A_HEAD, ends_in_features, find_classes, find_units, image_shape_of
from dirac_keras.deployment.feeding import batch_runner, choose_feed, fed_data
from dirac_keras.deployment.heads import CLASSES, VALUES, find_head, task_of
from dirac_keras.deployment.image_spec import FILE_CHANNELS, ImageSpec
from dirac_keras.deployment.views import VIEWS, averaged_over_views
from dirac_keras.errors import UserError, check_choice
from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.listing import apart, listed

logger = logging.getLogger("dirac_keras")


def evaluate(model, data, splits, split="test", input=None, outputs=None, test_time_augmentation="none"):
    """Loss, accuracy and top-5 accuracy of a classifier.

    Args:
        model: `keras.Model` that gives logits or probabilities, `(batch, classes)`, or one number for two classes.
        data: dict of the data set it was trained on (`DataSpec.to_dict()`), or None.
        splits: what `pipelines.load_splits` returns; must have the model's classes.
        split: `"test"`, `"validation"` or `"train"` (not augmented).
        input: what the images are scaled to, as in `feeding.choose_feed`; None: what the model's file or layers say.
        outputs: `"logits"`, `"probabilities"`, or None: what the model's graph or numbers say.
        test_time_augmentation: one of `views.VIEWS`: over which views of an image the outputs are averaged.

    Returns: dict: `data`, `split`, `images`, `loss` (cross-entropy without smoothing), `accuracy`, `top5` for more than
        5 classes, `test_time_augmentation` where views are averaged, and `absent_classes`, the names of those that no
        image has, if there are any.
    Raises: ValueError: if the classes or the image shapes differ, what is fed or given is not known, or the outputs
        are not finite.
    """
    check_choice("test_time_augmentation", test_time_augmentation, VIEWS)
    check_classes(model, data, splits.spec)
    if splits.spec.task != CLASSES:
        raise UserError(
            f"data: `evaluate` is of data with one class for each image; {splits.spec.name} has {splits.spec.task}, "
            "which `dirac_keras.evaluation` judges."
        )
    head, run = find_head(model, outputs), averaged_over_views(batch_runner(model), test_time_augmentation)
    splits, feed = preprocessed_as(data, splits, model, input)
    logger.info("input: %s", feed.text)
    spec = splits.spec
    total = correct = top5 = loss = 0
    met = set()
    for images, labels in stream_of(splits, split):
        labels = np.asarray(labels)
        probabilities = head.probabilities(run(images))
        chosen = probabilities[np.arange(len(labels)), labels]
        rank = np.sum(probabilities > chosen[:, None], axis=-1)
        total += len(labels)
        met.update(labels.tolist())
        correct += int(np.sum(probabilities.argmax(-1) == labels))
        top5 += int(np.sum(rank < 5))
        loss += float(np.sum(-np.log(np.maximum(chosen, np.finfo("float32").tiny))))
    figures = {
        "data": spec.name,
        "split": split,
        "images": total,
        "loss": loss / total,
        "accuracy": correct / total,
    }
    if test_time_augmentation != "none":
        figures["test_time_augmentation"] = test_time_augmentation
    if head.classes > 5:
        figures["top5"] = top5 / total
    if absent := [name for number, name in enumerate(spec.class_names) if number not in met]:
        figures["absent_classes"] = absent
    return figures


def accuracy_of_views(model, batches, test_time_augmentation):
    """Share of images that a classifier of two units or more names rightly, its outputs averaged over their views.

    Args:
        model: `keras.Model` that gives logits or probabilities.
        batches: iterable of `(images, labels)` as the model takes them, such as `splits.test()`.
        test_time_augmentation: one of `views.VIEWS`.
    """
    run = averaged_over_views(batch_runner(model), test_time_augmentation)
    outputs, labels = _collected(run, batches)
    return float(np.mean(outputs.argmax(-1) == labels))


def outputs_and_labels(model, batches):
    """What a model gives for images and what is to be told of them, as two arrays.

    Args:
        model: `keras.Model`.
        batches: iterable of `(images, labels)` as the model takes them, such as `splits.test()`.
    """
    return _collected(batch_runner(model), batches)


def _collected(run, batches):
    if isinstance(batches, keras.utils.PyDataset):  # which need not end when it is iterated
        batches = map(batches.__getitem__, range(batches.num_batches))
    pairs = [(run(images), np.asarray(labels)) for images, labels in batches]
    return tuple(np.concatenate(part) for part in zip(*pairs, strict=True))


def check_classes(model, data, spec):
    """Whether a model fits a data set.

    Args:
        model: `keras.Model`.
        data: dict of the data set it was trained on, or None.
        spec: `pipelines.DataSpec` of the one at hand.

    Raises: ValueError: if it is no classifier of images, or the shape, the number or the names of the classes differ.
    """
    task = getattr(spec, "task", CLASSES)
    if data and task_of(data) != task:
        raise UserError(
            f"data: the model was trained on {data.get('name', 'others')}, which has {task_of(data)}; {spec.name} has "
            f"{task}. Give the `data` that the model was trained for."
        )
    shape, classes = image_shape_of(model), find_classes(model) if task == CLASSES else find_units(model)
    if any(own not in (None, given) for own, given in zip(shape, spec.image_shape, strict=True)):
        hint = (
            ""
            if shape[-1] == spec.image_shape[-1]
            else f" ({_colours(shape)} there, {_colours(spec.image_shape)} here)"
        )
        raise UserError(
            f"data: the model takes images of shape {_text(shape)}, {spec.name} has {_text(spec.image_shape)}{hint}. "
            "Give the `data` that the model was trained for."
        )
    names = (data or {}).get("class_names")
    if classes != spec.num_classes:
        way_out = "Give the `data` that the model was trained for."
        if not names and ends_in_features(model):
            way_out += " If it is a network without a layer of classes, train one for these data: " + TRAIN_A_HEAD
        raise UserError(
            f"data: the model has {classes} {task}, data {spec.name} has {spec.num_classes}"
            f"{_lacking_or_new(names or [], spec.class_names)}. {way_out}"
        )
    if names and list(names) != list(spec.class_names):
        raise UserError(
            f"data: the model was trained on {data.get('name', 'others')}, whose {task} are not those of {spec.name}: "
            f"{apart(names, spec.class_names)}. Rename them, or give the `data` that the model was trained for."
        )


def _lacking_or_new(there, here):
    """Which names are only on one side, as the end of a sentence."""
    lacking, new = ([name for name in one if name not in set(other)] for one, other in ((there, here), (here, there)))
    said = ["without " + listed(lacking)] if lacking else []
    said += ["new are " + listed(new)] if new and there else []
    return f" ({', '.join(said)})" if said else ""


def _colours(shape):
    return {1: "grey", 3: "colour"}.get(shape[-1], f"{shape[-1]} channels")


def _text(shape):
    return "x".join("?" if side is None else str(side) for side in shape)


def preprocessed_as(data, splits, model, input=None, default=None):
    """`Splits` with the preprocessing that a model is fed with, not what this set would choose for itself.

    Args:
        data: dict of the data set the model was trained on, or None.
        splits: `pipelines.Splits`.
        model: classifier of images.
        input, default: as in `feeding.choose_feed`.

    Returns: `(Splits, feeding.Feed)`.
    """
    spec = splits.spec
    feed = choose_feed(model, spec.image_shape[-1], data, input, (spec.mean, spec.std), default)
    seen = {"mean": feed.mean, "std": feed.std}
    if data and "resize" in data:
        seen["resize"] = data["resize"]
    return dataclasses.replace(splits, spec=dataclasses.replace(spec, **seen)), feed


def stream_of(splits, split):
    """The `(images, labels)` of one part of `Splits`, in order, once. Raises: ValueError: if validation is empty."""
    if split in ("test", "all"):  # what has one part has it as its test part
        return splits.test()
    if split == "train":
        return splits.train_in_order()
    dataset = splits.validation()
    if dataset is None:
        raise UserError("split 'validation' is empty: give `validation`, the part of train to set aside.")
    return dataset


def rank_files(
    model, data, paths, top=5, input=None, outputs=None, labels=None, image_size=None, max_pixels=None, on_broken=None
):
    """The most likely classes of image files.

    Args:
        model: classifier of images.
        data: dict of the data set it was trained on: `image_shape`, `mean`, `std`, `class_names`, `resize`; or None.
        paths: of JPEG, PNG, GIF, BMP, WebP files.
        top: int, classes an image.
        input, outputs: as in `evaluate`.
        labels: list of class names, or None: those of `data`, else the classes' numbers.
        image_size: pixels, `(height, width)`, where the model leaves them open; or None.
        max_pixels: pixels of the largest image that is decoded, or None: as in `data`, else 2^27.
        on_broken: called as `on_broken(path, error)` for a file that is absent or cannot be decoded, which is then
            passed over; None raises the error.

    Yields: `(path, [(class name, probability), ...])`, the likeliest first; of labels each with its own probability;
        of values `(name, value)`, all of them in their order.
    Raises: ValueError: if what is fed or given is not known, or a file is absent or no image.
    """
    described, feed = fed_data(model, data, input, labels, image_size, max_pixels)
    spec = ImageSpec.from_metadata({"data": described}, model)
    head, run = find_head(model, outputs, task_of(data)), batch_runner(model)
    logger.info("input: %s", feed.text)
    for path in paths:
        try:
            image = read_image(path, spec)
        except UserError as error:
            if on_broken is None:
                raise
            on_broken(str(path), error)
            continue
        outputs = run(spec.normalize(image)[None])
        if head.task == VALUES:
            yield str(path), [(name, float(value)) for name, value in zip(spec.class_names, outputs[0], strict=True)]
            continue
        probabilities = head.probabilities(outputs)[0]
        order = np.argsort(-probabilities)[:top]
        yield str(path), [(spec.class_names[k], float(probabilities[k])) for k in order]


def read_image(path, spec):
    """One image file as the model's uint8 view, `image_shape`. Raises: ValueError: that names the file."""
    channels = spec.image_shape[-1]
    if channels not in FILE_CHANNELS:
        raise UserError(f"model: image files are read in 1 or 3 channels, the model takes {channels}.")
    try:
        with open(path, "rb") as file:
            encoded = file.read()
    except OSError as error:
        raise UserError(f"image {path} cannot be read: {error.strerror}.") from None
    with quiet_stderr(show=False):  # the decoder prints what the reason says
        image, reason = spec.read(encoded)
    if image is None:
        raise UserError(f"image {path} is {reason}.")
    return image
