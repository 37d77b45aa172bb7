"""Which operations an image gets, and how strong: RandAugment, AutoAugment's published policies, jitter and others.

Chance comes as numbers in [0, 1), so many an image as `chances_of` says; what they choose is plain arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from pipelines.additions.operations import OF_COLOURS
from pipelines.augmentation import Augmentation

Step = tuple[str, float]

# Cubuk et al. 2019, arXiv:1909.13719, section 3: the 14 operations that RandAugment chooses from.
CHOICES = (
    *("identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize"),
    *("contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y"),
)
FULL = 10  # the magnitude of RandAugment that is the largest of the range; more goes beyond
LEVELS = 9  # likewise of AutoAugment's tables: 0 to 9

# Cubuk et al. 2018, arXiv:1805.09501, table 6: the largest number of an operation, which gets a sign by chance.
LARGEST = {"shear_x": 0.3, "shear_y": 0.3, "rotate": 30.0}
SHIFT = 150 / 331  # of the side: 150 pixels of their ImageNet images, which had 331
SHIFT_OF_POLICY = {"cifar10": 10 / 32, "imagenet": SHIFT}  # 10 pixels of 32 in the authors' code for CIFAR-10
FACTORS = ("color", "contrast", "brightness", "sharpness")  # 0.1 to 1.9

# Table 7: the 25 sub-policies for CIFAR-10. (operation, probability, magnitude) twice; 0 for those without a magnitude.
CIFAR10 = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
# Table 9: the 25 for ImageNet, some of which stand there twice.
IMAGENET = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
    (("color", 0.4, 0), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)
POLICIES = {"cifar10": CIFAR10, "imagenet": IMAGENET}

BLUR = (0.1, 2.0)  # pixels, the deviations of a blur: arXiv:2002.05709, appendix A
MOST_BLUR = 1 / 16  # of an image's smaller side: 2 pixels at a side of 32; of digits of 8 pixels they would leave a fog
ORDERS = tuple(itertools.permutations(("brightness", "contrast", "color", "hue")))  # of colour jitter


def chances_of(augmentation: Augmentation) -> int:
    """How many numbers of chance `steps_of` takes for an image."""
    count = 2 * augmentation.randaugment[0] if augmentation.randaugment else 0
    count += 5 if augmentation.autoaugment else 0
    count += 5 if augmentation.jitter else 0
    return count + bool(augmentation.vflip) + bool(augmentation.grey) + 2 * bool(augmentation.blur)


def steps_of(augmentation: Augmentation, chances: Sequence[float], image_shape: Sequence[int]) -> list[Step]:
    """The operations that an image gets, with their numbers, in order.

    Args:
        augmentation: that `has_operations`.
        chances: `chances_of(augmentation)` numbers in [0, 1).
        image_shape: (height, width, channels).
    """
    chances, steps = iter(map(float, chances)), []
    if augmentation.vflip and next(chances) < augmentation.vflip:
        steps.append(("flip_y", 0.0))
    if augmentation.randaugment:
        steps += _randaugment(*augmentation.randaugment, chances, image_shape)
    if augmentation.autoaugment:
        steps += _autoaugment(augmentation.autoaugment, chances, image_shape)
    if augmentation.jitter:
        steps += _jitter(augmentation.jitter, chances)
    if augmentation.grey and next(chances) < augmentation.grey:
        steps.append(("color", 0.0))
    if augmentation.blur:
        taken, place = next(chances) < augmentation.blur, next(chances)
        steps += [("blur", BLUR[0] + (_most_blur(image_shape) - BLUR[0]) * place)] if taken else []
    return steps


def _most_blur(image_shape):
    """The largest deviation of a blur in pixels."""
    return max(BLUR[0], min(BLUR[1], MOST_BLUR * min(image_shape[:2])))


def _randaugment(count, magnitude, chances, image_shape):
    """Source: arXiv:1909.13719, section 3; but factors are 1 - 0.9 m / 10 or 1 + 0.9 m / 10, one of both by chance.

    Those of table 6 are 0.1 + 1.8 m / 10, which changes nothing at the magnitude 5 and most at 0.
    """
    names = CHOICES if image_shape[2] == 3 else [name for name in CHOICES if name not in OF_COLOURS]
    steps = []
    for _ in range(count):
        name, sign = names[int(next(chances) * len(names))], -1 if next(chances) < 0.5 else 1
        if name in FACTORS:
            steps.append((name, max(0.0, 1 + sign * 0.9 * magnitude / FULL)))
        else:
            steps.append((name, _number(name, magnitude / FULL, sign, SHIFT, image_shape)))
    return steps


def _autoaugment(policy, chances, image_shape):
    """Source: arXiv:1805.09501, section 3: one of the sub-policies, each of its operations with its probability."""
    chosen, steps = POLICIES[policy][int(next(chances) * len(POLICIES[policy]))], []
    for name, probability, level in chosen:
        taken, sign = next(chances) < probability, -1 if next(chances) < 0.5 else 1
        if taken and name in FACTORS:
            steps.append((name, 0.1 + 1.8 * level / LEVELS))
        elif taken:
            steps.append((name, _number(name, level / LEVELS, sign, SHIFT_OF_POLICY[policy], image_shape)))
    return steps


def _number(name, strength, sign, shift, image_shape):
    """The number of an operation that is no factor; `strength` 1 is the largest of table 6."""
    height, width = image_shape[:2]
    if name in LARGEST:
        return sign * strength * LARGEST[name]
    if name == "translate_x":
        return sign * round(strength * shift * width)
    if name == "translate_y":
        return sign * round(strength * shift * height)
    if name == "solarize":
        return max(0.0, 256 * (1 - strength))  # 256 inverts nothing
    if name == "posterize":
        return max(1, 8 - math.floor(4 * strength + 0.5))
    return 0.0  # the others have none


def _jitter(largest, chances):
    """Factors evenly in 1 - x .. 1 + x, a turn of the hue evenly in -x .. x, in an order that chance takes."""
    order = ORDERS[int(next(chances) * len(ORDERS))]
    middles = (1, 1, 1, 0)
    drawn = {
        name: middle + (2 * next(chances) - 1) * change
        for name, middle, change in zip(("brightness", "contrast", "color", "hue"), middles, largest, strict=True)
    }
    changes = dict(zip(("brightness", "contrast", "color", "hue"), largest, strict=True))
    return [(name, drawn[name]) for name in order if changes[name]]
