"""What is done to training images, as data; `augment.py` does it in TensorFlow, `arrays/` in NumPy.

What is added to a base, `additions/` does for both.
"""

from __future__ import annotations

import dataclasses

from pipelines.additions.grammar import BY_BASE, read_augmentation
from pipelines.examples import VALUES, DataError


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
        randaugment: operations an image and their magnitude, of which 10 is the largest that the operations were meant
            for; None for none.
        autoaugment: name of the policy, "" for none.
        jitter: largest changes of brightness, contrast, saturation and hue; None for none.
        vflip, grey, blur: shares of the images that are turned upside down, lose their colours, are blurred.
        erasing: share of the images in which a part is erased.
        mixup, cutmix: alpha of the Beta distribution that an image's share in a mixture is drawn from; 0 for none. With
            both, chance takes one of them for each image.
    """

    padding: int = 0
    mode: str = "REFLECT"
    flip: bool = False
    resized_crop: bool = False
    alternating: bool = False
    randaugment: tuple[int, float] | None = None
    autoaugment: str = ""
    jitter: tuple[float, float, float, float] | None = None
    vflip: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def changes_pixels(self) -> bool:
        """Whether an image's pixels are changed beside shifts, flips and crops, each on its own."""
        return bool(self.has_operations or self.erasing)

    @property
    def has_operations(self) -> bool:
        """Whether operations of Pillow are among that."""
        return bool(self.randaugment or self.autoaugment or self.jitter or self.vflip or self.grey or self.blur)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, and so labels have shares of several classes."""
        return bool(self.mixup or self.cutmix)

    @property
    def has_additions(self) -> bool:
        """Whether there is more than a base."""
        return self.changes_pixels or self.mixes


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "cifar": Augmentation(padding=4, flip=True),  # arXiv:1706.00388, caption of table 2, and the authors' code
    # Of the ResNets that VANs are made of: He et al. 2015, arXiv:1512.03385, section 4.2, pad with zeros after
    # subtracting the mean.
    "cifar_zeros": Augmentation(padding=4, mode="CONSTANT", flip=True),
    "digits": Augmentation(padding=1, mode="CONSTANT"),  # a mirrored digit is another sign: no flip
    "mnist": Augmentation(padding=2, mode="CONSTANT"),
    "fashion": Augmentation(padding=2, mode="CONSTANT", flip=True),
    "imagenet": Augmentation(resized_crop=True, flip=True),  # arXiv:1706.00388, the authors' code
}

# What Pillow computes, on the host.
OF_THE_HOST = ("vflip", "randaugment", "autoaugment", "jitter", "grey", "blur")

# Beside them: `auto`, what the data set has for itself; `alternating`, the same for a training of few epochs.
NAMES = ("auto", "alternating", *AUGMENTATIONS)
LARGEST_SHIFT = 2  # pixels, of `alternating`: the translation of arXiv:2404.00498, section 3.5


def find_augmentation(name: str, own: str) -> Augmentation:
    """The `Augmentation` of a text such as "cifar+mixup:0.2" for a data set whose own is named `own`.

    Raises: DataError: if it is none.
    """
    base, additions = read_augmentation(name, NAMES)
    values = {key: found if key in ("randaugment", "jitter") else found[0] for key, found in additions.items()}
    found = _find_base(base, own)
    if values.get("autoaugment") == BY_BASE:
        values["autoaugment"] = "imagenet" if found.resized_crop else "cifar10"
    return dataclasses.replace(found, **values)


def _find_base(name, own):
    if name != "alternating":
        return AUGMENTATIONS[own if name == "auto" else name]
    augmentation = AUGMENTATIONS[own]
    padding = min(augmentation.padding, LARGEST_SHIFT)
    return dataclasses.replace(augmentation, padding=padding, alternating=augmentation.flip)


def check_channels(name: str, augmentation: Augmentation, channels: int) -> None:
    """Raise DataError if an augmentation is of colours and images have none.

    Args:
        name: as it was given, for the message.
        augmentation: that was found for it.
        channels: of the images, 1 or 3.
    """
    if augmentation.has_operations and channels not in (1, 3):
        raise DataError(
            f"augmentation={name!r} has operations on grey images and on those of three colours. Received images of "
            f"{channels} channels: give an augmentation without {', '.join(OF_THE_HOST)}."
        )
    if channels != 1:
        return
    way_out = None
    if augmentation.grey:
        raise DataError(f"augmentation={name!r} takes colours away, and these images are grey: leave grey out.")
    if augmentation.jitter and any(augmentation.jitter[2:]):
        brightness, contrast = augmentation.jitter[:2]
        what, way_out = "jitter of saturation and hue", f"jitter:{brightness:g}:{contrast:g}:0:0"
    elif augmentation.autoaugment:
        what, way_out = "autoaugment, whose policies were found for colours,", "randaugment"
    if way_out:
        raise DataError(
            f"augmentation={name!r} has {what} for colour images alone, and these are grey: give {way_out}."
        )


def check_task(name: str, augmentation: Augmentation, task: str) -> None:
    """Raise DataError if an augmentation makes labels that a task does not have; arguments as in `check_channels`."""
    if task == VALUES and augmentation.cutmix:
        raise DataError(
            f"augmentation={name!r} has cutmix, which gives an image the labels of its parts; numbers have no parts: "
            "give mixup, or leave it out."
        )


CROP_AREA, CROP_ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)  # the ranges of a random resized crop
CROP_ATTEMPTS = 10
