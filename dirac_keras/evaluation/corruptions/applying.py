"""A corruption applied to images of bytes, drawn by a seed."""

import zlib

import numpy as np

from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.evaluation.corruptions.table import CORRUPTIONS, LEFT_OUT, STRENGTHS

ALL = "all"


def corrupt(image, name, strength, seed=0, index=0):
    """One image, corrupted. The same arguments give the same pixels, whatever was corrupted before.

    Args:
        image: uint8 `(height, width, 1 or 3)`.
        name: key of `table.CORRUPTIONS`.
        strength: 1 to 5.
        seed: int.
        index: int, of the image in its data set: each is drawn for itself.

    Returns: uint8 array of the same shape. Values are cut off, not rounded, as in the published data sets.
    Raises: ValueError: if there is no such corruption or strength, or it needs colours.
    """
    (corruption,) = find_corruptions((name,), image.shape[-1])
    if strength not in STRENGTHS:
        raise UserError(f"strength must be 1 to 5. Received strength={strength!r}.")
    rng = np.random.default_rng([seed, index, zlib.crc32(name.encode()), strength])
    changed = corruption.apply(image / 255.0, corruption.constants(image.shape, strength), rng)
    # To the nearest thousandth first: 3/255 times 255 need not be 3.
    return np.floor(np.round(np.clip(changed, 0, 1) * 255, 3)).astype("uint8")


def find_corruptions(names, channels):
    """The corruptions of names.

    Args:
        names: iterable of names, or `"all"`: those that images of so many channels can have.
        channels: 1 or 3.

    Returns: list of `Corruption`, in the order of the table for `"all"`.
    Raises: ValueError: if one is not known, is not in this package, or needs colours that grey images do not have.
    """
    if names in (ALL, (ALL,), [ALL]):
        return [found for found in CORRUPTIONS.values() if channels == 3 or not found.needs_colour]
    unknown = [name for name in names if name not in CORRUPTIONS]
    if unknown and unknown[0] in LEFT_OUT:
        raise UserError(f"`corruptions`: {unknown[0]} is left out: {LEFT_OUT[unknown[0]]}. Leave it away.")
    if unknown or not names:
        hint = did_you_mean(unknown[0], CORRUPTIONS) if unknown else ""
        raise UserError(
            f"`corruptions` must be all, or of {', '.join(CORRUPTIONS)}. Received "
            f"{unknown[0] if unknown else 'none'!r}. {hint}".rstrip()
        )
    found = [CORRUPTIONS[name] for name in dict.fromkeys(names)]
    for corruption in found:
        if corruption.needs_colour and channels != 3:
            raise UserError(f"`corruptions`: {corruption.name} needs images in colour; these have {channels} channel.")
    return found


def skipped(channels):
    """What `"all"` leaves out for images of so many channels: dict, name -> reason."""
    grey = {c.name: "it changes colours, and these images are grey" for c in CORRUPTIONS.values() if c.needs_colour}
    return LEFT_OUT | (grey if channels != 3 else {})
