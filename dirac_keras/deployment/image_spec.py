"""From an image to a model's input, and from its output to a label."""

import dataclasses

import keras

from dirac_keras.errors import UserError
from dirac_keras.graph.inputs import input_specs


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """What turns an image into the model's input, and its output into a label.

    Args: as in `metadata["data"]`.
    """

    image_shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple
    resize: int | None

    @classmethod
    def from_metadata(cls, metadata, model):
        """Read `metadata["data"]`.

        Raises: ValueError: if it is incomplete or does not fit `model`.
        """
        data = metadata["data"]
        missing = sorted({"image_shape", "num_classes", "mean", "std"} - set(data))
        if missing:
            raise UserError(f"metadata['data'] lacks {', '.join(missing)}. Received the keys {sorted(data)}.")
        shape, num_classes = tuple(data["image_shape"]), data["num_classes"]
        names = tuple(data.get("class_names") or (str(index) for index in range(num_classes)))
        spec = cls(shape, names, tuple(data["mean"]), tuple(data["std"]), data.get("resize"))
        if not len(spec.mean) == len(spec.std) == shape[-1]:
            raise UserError(
                f"mean and std must have one value for each of the {shape[-1]} channels. "
                f"Received mean={data['mean']}, std={data['std']}."
            )
        if len(names) != num_classes:
            raise UserError(f"class_names must be {num_classes} names (num_classes). Received {len(names)}.")
        if spec.resize is not None and spec.resize < max(shape[:2]):
            raise UserError(f"resize must be at least {max(shape[:2])}, a side of the crop. Received {spec.resize}.")
        inputs = keras.tree.flatten(input_specs(model))
        if len(inputs) != 1 or not _fits(inputs[0].shape[1:], shape):
            raise UserError(
                f"metadata['data'] has image_shape={shape}, "
                f"the model takes {[tuple(i.shape) for i in inputs]}. "
                "Give the metadata that the model was trained with, or none."
            )
        outputs = keras.tree.flatten(model.compute_output_shape((1, *shape)))  # flattens the shape too
        if outputs != [1, num_classes]:
            raise UserError(
                f"metadata['data'] has num_classes={num_classes}, "
                f"the model gives an output of shape {tuple(outputs)}. "
                "Give the metadata that the model was trained with, or none."
            )
        return spec

    def view(self, images):
        """Scale and crop `(..., h, w, c)` uint8 to `image_shape`, uint8, as pipelines' evaluation does."""
        import tensorflow as tf

        height, width, channels = self.image_shape
        if self.resize is None:
            images = tf.image.resize(images, (height, width), antialias=True)
        else:
            sides = tf.cast(tf.shape(images)[-3:-1], tf.float32)
            scale = tf.cast(self.resize, tf.float32) / tf.reduce_min(sides)
            target = tf.maximum(tf.cast(tf.round(sides * scale), tf.int32), self.resize)
            images = tf.image.resize(images, target, antialias=True)
            top, left = tf.unstack((target - (height, width)) // 2)
            images = images[..., top : top + height, left : left + width, :]
        images = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)
        return tf.ensure_shape(images, (*images.shape[:-3], height, width, channels))

    def normalize(self, images):
        """`(images - mean) / std` in float32, as pipelines computes it: one product and one sum."""
        import tensorflow as tf

        scale = tf.constant([1.0 / s for s in self.std], tf.float32)
        offset = tf.constant([-m / s for m, s in zip(self.mean, self.std, strict=True)], tf.float32)
        return tf.cast(images, tf.float32) * scale + offset


def _fits(shape, image_shape):
    return len(shape) == len(image_shape) and all(a in (None, b) for a, b in zip(shape, image_shape, strict=True))
