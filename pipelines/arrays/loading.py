"""Encoded images to arrays: their bytes, wherever they lie, and what evaluation and training look at of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipelines.arrays.crops import random_resized_crop
from pipelines.arrays.decoder import Refused, decode
from pipelines.arrays.pixels import evaluation_pixels, shift_and_flip
from pipelines.arrays.tfrecords import RecordFault, record_at
from pipelines.augmentation import Augmentation
from pipelines.decoding.rule import Rule
from pipelines.draws import Draws
from pipelines.examples import DataError, Examples, View
from pipelines.framing import damaged_record
from pipelines.printable import printable


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an image comes from, for a message."""

    examples: Examples
    position: int

    def __str__(self) -> str:
        if self.examples.paths is not None:
            return printable(_text(self.examples.paths[self.examples.rows[self.position]]))
        return f"example {self.position}"


def bytes_of(examples: Examples, position: int) -> bytes:
    """The encoded image of an example. Raises: RecordFault: if its record is damaged; OSError."""
    row = examples.rows[position]
    if examples.encoded is not None:
        return examples.encoded[row]
    if examples.paths is not None:
        with open(examples.paths[row], "rb", buffering=0) as file:
            return file.read()
    records = examples.records
    data = record_at(records.paths[records.files[row]], int(records.starts[row]))
    offset = int(records.offsets[row])
    return data[offset : offset + int(records.sizes[row])]


def load(examples: Examples, position: int, pixels_of) -> np.ndarray:
    """`pixels_of(bytes)` of an example that was whole when its data set was opened.

    Raises: DataError: if it is not any more, or is a damaged record: those of a large set are not all read before.
    """
    try:
        return pixels_of(bytes_of(examples, position))
    except RecordFault:
        records, row = examples.records, examples.rows[position]
        path = printable(_text(records.paths[records.files[row]]))
        raise DataError(damaged_record(path, int(records.starts[row]))) from None
    except Refused as refusal:
        raise DataError(f"{Source(examples, position)} is {refusal}. Start again, which looks at all images.") from None
    except OSError as error:
        raise DataError(
            f"{Source(examples, position)} cannot be read: {error.strerror or error}. Was it moved while it was used?"
        ) from error


def evaluated(data: bytes, view: View, rule: Rule) -> np.ndarray:
    """What evaluation sees of an encoded image: whole numbers in float32, `(height, width, channels)`."""
    return evaluation_pixels(decode(data, view.image_shape[2], rule), view.image_shape, view.resize)


def augmented(data: bytes, view: View, rule: Rule, augmentation: Augmentation, draws: Draws, k: int) -> np.ndarray:
    """What training sees of an encoded image that is number `k` of some draws; whole numbers, float32 or uint8."""
    if augmentation.resized_crop:
        image = random_resized_crop(data, draws.heights[k], draws.widths[k], draws.place[k], view.image_shape, rule)
        image = np.ascontiguousarray(image[:, ::-1]) if draws.flips[k] else image
    else:
        image = evaluated(data, view, rule)
        if augmentation.padding or augmentation.flip:
            one = slice(k, k + 1)
            where = draws.rows[one], draws.columns[one], draws.flips[one]
            image = shift_and_flip(image[None], *where, augmentation.padding, augmentation.mode)[0]
    return image


def _text(path):
    return path.decode(errors="surrogateescape") if isinstance(path, bytes) else path
