"""A trained model on a data set, or on image files."""

import numpy as np

from dirac_keras.exporting import ImageSpec


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
    import keras

    spec = splits.spec
    classes = model.output_shape[-1]
    if classes != spec.num_classes:
        raise ValueError(f"the model has {classes} classes, data {spec.name} has {spec.num_classes}.")
    if data and list(data["class_names"]) != list(spec.class_names):
        raise ValueError(
            f"the model was trained on {data['name']} with other class names than {spec.name}: "
            f"{', '.join(data['class_names'][:3])}, ... there, {', '.join(spec.class_names[:3])}, ... here."
        )
    total = correct = top5 = loss = 0
    for images, labels in stream(splits, split):
        outputs = keras.ops.convert_to_tensor(model.predict_on_batch(images))
        labels = np.asarray(labels)
        probabilities = keras.ops.convert_to_numpy(_probabilities(model, outputs))
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


def stream(splits, split):
    """The images of a split in order, once, as they are evaluated."""
    if split == "train":
        return splits.train_in_order()
    dataset = splits.test() if split == "test" else splits.validation()
    if dataset is None:
        raise ValueError("split 'validation' is empty. Give --validation, the part of train set aside.")
    return dataset


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
        raise ValueError(
            "the model file holds no preprocessing and class names, so it cannot be fed with image files. "
            "Models that dirac_keras trained, folded or saved hold them."
        )
    spec = ImageSpec.from_metadata({"data": data}, model)
    for path in paths:
        outputs = model.predict_on_batch(spec.normalize(read_image(path, spec))[None])
        probabilities = np.asarray(_probabilities(model, outputs))[0]
        order = np.argsort(-probabilities)[:top]
        yield str(path), [(spec.class_names[k], float(probabilities[k])) for k in order]


def read_image(path, spec):
    """One image file as the model's uint8 view, `image_shape`. Raises: ValueError: that names the file."""
    import tensorflow as tf

    try:
        with open(path, "rb") as file:
            encoded = file.read()
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror}.") from None
    try:
        image = tf.io.decode_image(encoded, channels=spec.image_shape[-1], expand_animations=False)
    except tf.errors.InvalidArgumentError:
        raise ValueError(f"image {path} is no JPEG, PNG, GIF or BMP image, or it is damaged.") from None
    return spec.view(image)


def _probabilities(model, outputs):
    import keras

    from dirac_keras.exporting import ends_in_softmax

    outputs = keras.ops.cast(outputs, "float32")
    return outputs if ends_in_softmax(model) else keras.ops.softmax(outputs)
