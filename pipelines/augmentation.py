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
        alternating: with `flip`: chance draws half of the images once; these are mirrored in the first epoch, the
            others in the second, and so on by turns. In two epochs each image is seen from both sides, where
            independent draws show half of them the same way twice. Source: Jordan 2024, arXiv:2404.00498, section 3.6.
    """

    padding: int = 0
    mode: str = "REFLECT"
    flip: bool = False
    resized_crop: bool = False
    alternating: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "cifar": Augmentation(padding=4, flip=True),  # arXiv:1706.00388, caption of table 2, and the authors' code
    # He et al. 2015, arXiv:1512.03385, section 4.2, which VANs follow; they pad with zeros after subtracting the mean.
    "cifar_zeros": Augmentation(padding=4, mode="CONSTANT", flip=True),
    "digits": Augmentation(padding=1, mode="CONSTANT"),  # a mirrored digit is another sign: no flip
    "mnist": Augmentation(padding=2, mode="CONSTANT"),
    "fashion": Augmentation(padding=2, mode="CONSTANT", flip=True),
    "imagenet": Augmentation(resized_crop=True, flip=True),  # arXiv:1706.00388, the authors' code
}

# Beside them: `auto`, what the data set has for itself; `alternating`, the same for a training of few epochs.
NAMES = ("auto", "alternating", *AUGMENTATIONS)
LARGEST_SHIFT = 2  # pixels, of `alternating`: the translation of arXiv:2404.00498, section 3.5


def find_augmentation(name: str, own: str) -> Augmentation:
    """The `Augmentation` of one of `NAMES` for a data set whose own is named `own`."""
    if name != "alternating":
        return AUGMENTATIONS[own if name == "auto" else name]
    augmentation = AUGMENTATIONS[own]
    padding = min(augmentation.padding, LARGEST_SHIFT)
    return dataclasses.replace(augmentation, padding=padding, alternating=augmentation.flip)


CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # the ranges of a random resized crop
CROP_ATTEMPTS = 10
