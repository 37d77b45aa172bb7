"""What is done to training images, as data; `augment.py` does it in TensorFlow, `arrays/` in NumPy."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, as data.

    Args:
        padding: pixels added on every side before a crop of the original size; 0 for no shift.
        mode: "REFLECT" or "CONSTANT" (zeros), how `padding` is filled.
        flip: whether half of the images are mirrored left to right.
        resized_crop: cut a part of random area and aspect ratio and scale it to the image shape (ImageNet).
    """

    padding: int = 0
    mode: str = "REFLECT"
    flip: bool = False
    resized_crop: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "cifar": Augmentation(padding=4, flip=True),  # arXiv:1706.00388, section 3.1
    "digits": Augmentation(padding=1, mode="CONSTANT"),  # a mirrored digit is another sign: no flip
    "mnist": Augmentation(padding=2, mode="CONSTANT"),
    "fashion": Augmentation(padding=2, mode="CONSTANT", flip=True),
    "imagenet": Augmentation(resized_crop=True, flip=True),  # arXiv:1706.00388, section 3.3
}


CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # the ranges of a random resized crop
CROP_ATTEMPTS = 10
