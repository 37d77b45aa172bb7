"""From an image to a model's input, and from its output to a label."""

import dataclasses

import keras
import numpy as np

from dirac_keras.errors import UserError
from dirac_keras.graph.inputs import fixed_batch, input_specs

FILE_CHANNELS = (1, 3)  # grey and colour: what image files are read in
ASSETS = "assets"  # TensorFlow's folder of files that a graph reads
LABELS_FILE = "labels.txt"  # in an artefact's assets, one class a line


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """What turns an image into the model's input, and its output into a label.

    The fields are those of `metadata["data"]`. Images of a model whose file lacks the last two are not turned, and have
    `DEFAULT_MAX_PIXELS` at most.
    """

    image_shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple
    resize: int | None
    exif_orientation: bool = False
    max_pixels: int | None = None

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
        rule = {name: data[name] for name in ("exif_orientation", "max_pixels") if name in data}
        spec = cls(shape, names, tuple(data["mean"]), tuple(data["std"]), data.get("resize"), **rule)
        if not len(spec.mean) == len(spec.std) == shape[-1]:
            raise UserError(
                f"mean and std must have one value for each of the {shape[-1]} channels. "
                f"Received mean={data['mean']}, std={data['std']}."
            )
        if not isinstance(spec.exif_orientation, bool) or not _is_count(spec.max_pixels):
            raise UserError(
                "exif_orientation must be true or false, and max_pixels a whole number above 0. "
                f"Received exif_orientation={spec.exif_orientation!r}, max_pixels={spec.max_pixels!r}."
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
        batch = fixed_batch(model) or 1
        outputs = keras.tree.flatten(model.compute_output_shape((batch, *shape)))  # flattens the shape too
        is_binary = num_classes == 2 and outputs == [batch, 1] and data.get("task", "classes") == "classes"
        if outputs != [batch, num_classes] and not is_binary:
            raise UserError(
                f"metadata['data'] has num_classes={num_classes}, "
                f"the model gives an output of shape {tuple(outputs)}. "
                "Give the metadata that the model was trained with, or none."
            )
        return spec

    def label_lines(self):
        """One line a class name: a line break inside a name would shift all that follow."""
        return [" ".join(str(name).split()) for name in self.class_names]

    # Of pipelines, deployment may import alone what reads an image: what an artefact does to it must be what the model
    # was evaluated with. An artefact's graph is TensorFlow's; a command reads as Keras' backend does.
    def decode(self, data):
        """`view` of one image file, from its bytes, in TensorFlow's operations. Raises where the file is refused."""
        from pipelines.decoding.decoder import decode

        return self.view(decode(data, self.image_shape[-1], self._rule()))

    def read(self, data):
        """`decode` from Python: `(view, None)`, or None and why the file is refused: "it is ..."."""
        if keras.backend.backend() == "tensorflow":
            from pipelines.decoding.decoder import read

            view = self.view
        else:
            from pipelines.arrays.decoder import read
            from pipelines.arrays.pixels import evaluation_view

            def view(image):
                return evaluation_view(image, self.image_shape, self.resize)

        image, reason = read(data, self.image_shape[-1], self._rule())
        return (None, reason) if image is None else (view(image), None)

    def _rule(self):
        from pipelines.decoding.rule import DEFAULT_MAX_PIXELS, Rule

        return Rule(self.exif_orientation, self.max_pixels or DEFAULT_MAX_PIXELS)

    def view(self, images):
        """What evaluation sees of one image `(h, w, c)` or of a batch: uint8 `(..., *image_shape)`, by TensorFlow."""
        import tensorflow as tf

        from pipelines.augment import evaluation_view

        images = tf.convert_to_tensor(images)
        if len(images.shape) == 3:
            return evaluation_view(images, self.image_shape, self.resize)

        def view_each():
            return tf.map_fn(
                lambda image: evaluation_view(image, self.image_shape, self.resize),
                images,
                fn_output_signature=tf.TensorSpec(self.image_shape, tf.uint8),
            )

        if self.resize is not None:
            return view_each()
        is_as_seen = tf.reduce_all(tf.equal(tf.shape(images)[1:3], self.image_shape[:2]))
        views = tf.cond(is_as_seen, lambda: images, view_each)  # to scale by 1 would change nothing
        return tf.ensure_shape(views, (None, *self.image_shape))

    def normalize(self, images):
        """`(images - mean) / std` in float32, as pipelines computes it; of an array an array, of a tensor a tensor."""
        if isinstance(images, np.ndarray) and keras.backend.backend() != "tensorflow":
            from pipelines.arrays.pixels import normalize
        else:
            from pipelines.augment import normalize
        return normalize(images, self.mean, self.std)


def _is_count(number):
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and number > 0)


def _fits(shape, image_shape):
    return len(shape) == len(image_shape) and all(a in (None, b) for a, b in zip(shape, image_shape, strict=True))
