"""Encoded images to arrays: their bytes, wherever they lie, and what evaluation and training look at of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipelines.arrays import exif
from pipelines.arrays.decoder import JPEG_SIGNATURE, Jpeg, Refused, decode
from pipelines.arrays.pixels import crop_window, evaluation_pixels, normalize, shift_and_flip
from pipelines.arrays.resizing import bilinear, resize_and_cut
from pipelines.arrays.tfrecords import RecordFault, record_at
from pipelines.augmentation import Augmentation
from pipelines.decoding.rule import Rule
from pipelines.draws import Draws
from pipelines.examples import DataError, Examples, View
from pipelines.framing import damaged_record
from pipelines.printable import printable

JPEG_RATIOS = (8, 4, 2)  # a JPEG decoder gives the image at these fractions of its size, at a fraction of the work


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
    """What training sees of an encoded image that is number `k` of a batch; normalised float32."""
    if augmentation.resized_crop:
        image = random_resized_crop(
            data, draws.heights[k], draws.widths[k], draws.place[k], draws.flips[k], view.image_shape, rule
        )
    else:
        image = evaluated(data, view, rule)
        if augmentation.padding or augmentation.flip:
            one = slice(k, k + 1)
            where = draws.rows[one], draws.columns[one], draws.flips[one]
            image = shift_and_flip(image[None], *where, augmentation.padding, augmentation.mode)[0]
    return normalize(image, view.mean, view.std)


def random_resized_crop(data, heights, widths, place, mirrored, image_shape, rule: Rule) -> np.ndarray:
    """A random part of an encoded image scaled to `image_shape`, mirrored left to right if asked; float32.

    A JPEG whose part is at least twice as large as the result is decoded at a half, a quarter or an eighth of its
    size. The rest is a plain bilinear resize by a factor below two, which passes over no pixel, as in the reader in
    TensorFlow (`pipelines.encoded`). Other kinds are decoded whole, and scaled with antialiasing.

    Args:
        heights, widths, place: of one image, as in `pipelines.draws.Draws`.
    """
    height, width, channels = image_shape
    jpeg = Jpeg(data, rule) if data.startswith(JPEG_SIGNATURE) else None
    if jpeg is not None and not jpeg.is_inked:
        size = exif.seen_size(jpeg.size, jpeg.orientation)
        window = crop_window(size, heights, widths, place)
        reduction = min(window[2] // height, window[3] // width)
        ratio = next((ratio for ratio in JPEG_RATIOS if ratio <= reduction), 1)
        top, left, rows, columns = (side // ratio for side in exif.stored_window(window, size, jpeg.orientation))
        part = jpeg.stored(channels, ratio)[top : top + rows, left : left + columns]
        image = bilinear(exif.turn(part, jpeg.orientation), height, width)
    else:
        whole = decode(data, channels, rule)
        top, left, rows, columns = crop_window(whole.shape[:2], heights, widths, place)
        image = np.rint(resize_and_cut(whole[top : top + rows, left : left + columns], (height, width), (0, 0),
                                       (height, width)))  # fmt: skip
    return image[:, ::-1] if mirrored else image


def _text(path):
    return path.decode(errors="surrogateescape") if isinstance(path, bytes) else path
