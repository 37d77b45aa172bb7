"""A trained model on a data set, or on image files."""

import dataclasses

import numpy as np
from scipy.special import softmax

from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.errors import UserError
from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.graph.softmax import ends_in_softmax


def evaluate(model, data, splits, split="test"):
    """Loss, accuracy and top-5 accuracy of a classifier.

    Args:
        model: `keras.Model` that gives logits or probabilities, `(batch, classes)`.
        data: dict of the data set it was trained on (`DataSpec.to_dict()`), or None.
        splits: what `pipelines.load_splits` returns; must have the model's classes.
        split: `"test"`, `"validation"` or `"train"` (not augmented).

    Returns: dict: `data`, `split`, `images`, `loss` (cross-entropy without smoothing), `accuracy`, and `top5` for more
        than 5 classes.
    Raises: ValueError: if the classes or the image shapes differ.
    """
    spec = splits.spec
    image_shape_of(model)
    classes = model.output_shape[-1]
    if classes != spec.num_classes:
        raise UserError(f"the model has {classes} classes, data {spec.name} has {spec.num_classes}.")
    if data and list(data["class_names"]) != list(spec.class_names):
        raise UserError(
            f"the model was trained on {data['name']}, whose classes are not those of {spec.name}: "
            f"{', '.join(data['class_names'][:3])}, ... there, {', '.join(spec.class_names[:3])}, ... here."
        )
    splits = preprocessed_as(data, splits)
    total = correct = top5 = loss = 0
    for images, labels in _stream(splits, split):
        outputs = model.predict_on_batch(images)
        labels = np.asarray(labels)
        probabilities = _probabilities(model, outputs)
        chosen = probabilities[np.arange(len(labels)), labels]
        rank = np.sum(probabilities > chosen[:, None], axis=-1)
        total += len(labels)
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
    return {**figures, "top5": top5 / total} if classes > 5 else figures


def preprocessed_as(data, splits):
    """`Splits` with the preprocessing a model saw in training, not what this set would choose for itself.

    Args:
        data: dict of the data set it was trained on, or None, which changes nothing.
        splits: `pipelines.Splits`.
    """
    if not data:
        return splits
    seen = {"mean": tuple(data["mean"]), "std": tuple(data["std"]), "resize": data["resize"]}
    return dataclasses.replace(splits, spec=dataclasses.replace(splits.spec, **seen))


def _stream(splits, split):
    if split == "test":
        return splits.test()
    if split == "train":
        return splits.train_in_order()
    dataset = splits.validation()
    if dataset is None:
        raise UserError("split 'validation' is empty: give `validation`, the part of train to set aside.")
    return dataset


def image_shape_of(model):
    """`(height, width, channels)` of a classifier of images; open sides are None.

    Raises: ValueError: if the model is not built, or takes or gives something else.
    """
    try:
        taken, given = model.input_shape, model.output_shape
    except (AttributeError, ValueError):
        raise UserError(f"model {model.name} is not built: call it once on images, save it again.") from None
    if not (_is_shape(taken, 4) and _is_shape(given, 2) and taken[-1] and given[-1]):
        raise UserError(
            f"model {model.name} must take (batch, height, width, channels) images and give (batch, classes). "
            f"It takes {taken} and gives {given}."
        )
    return taken[1:]


def _is_shape(shape, rank):
    return isinstance(shape, tuple) and len(shape) == rank and all(isinstance(s, (int, type(None))) for s in shape)


def rank_files(model, data, paths, top=5):
    """The most likely classes of image files.

    Args:
        model: classifier of images.
        data: dict of the data set it was trained on: `image_shape`, `mean`, `std`, `class_names`, `resize`.
        paths: of JPEG, PNG, GIF, BMP files.
        top: int, classes an image.

    Yields: `(path, [(class name, probability), ...])`, the likeliest first.
    Raises: ValueError: if the model carries no preprocessing, or a file is absent or no image.
    """
    if not data:
        raise UserError(
            "the model file holds no preprocessing and class names, so it cannot be fed with image files. "
            "Models that dirac_keras trained, folded or saved hold them."
        )
    spec = ImageSpec.from_metadata({"data": data}, model)
    for path in paths:
        outputs = model.predict_on_batch(spec.normalize(read_image(path, spec))[None])
        probabilities = _probabilities(model, outputs)[0]
        order = np.argsort(-probabilities)[:top]
        yield str(path), [(spec.class_names[k], float(probabilities[k])) for k in order]


def read_image(path, spec):
    """One image file as the model's uint8 view, `image_shape`. Raises: ValueError: that names the file."""
    import tensorflow as tf

    try:
        with open(path, "rb") as file:
            encoded = file.read()
    except OSError as error:
        raise UserError(f"image {path} cannot be read: {error.strerror}.") from None
    try:
        with quiet_stderr(show=False):  # the decoder prints what the error says
            image = tf.io.decode_image(encoded, channels=spec.image_shape[-1], expand_animations=False)
    except tf.errors.InvalidArgumentError:
        raise UserError(f"image {path} is no JPEG, PNG, GIF or BMP image, or it is damaged.") from None
    return spec.view(image)


def _probabilities(model, outputs):
    """`(batch, classes)` float64."""
    outputs = np.asarray(outputs, "float64")
    return outputs if ends_in_softmax(model) else softmax(outputs, axis=-1)
