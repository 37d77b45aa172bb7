"""The error on the training images at the end of a training, as the papers state it.

The accuracy of `metrics.csv` is a mean over an epoch in which the weights moved, with augmented images and the batches'
own statistics. Here the final network sees the images as it sees test images.
"""

from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError

ALL = "all"


def parse_limit(value):
    """How many training images are evaluated: None for none, `"all"`, or a number above 0, also as text.

    Raises: UserError: if it is another value.
    """
    if value is None or value == ALL:
        return value
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UserError(f"`evaluate_train` must be all, or a number of images above 0. Received {value!r}.")
    return int(text)


def check_splits(limit, splits):
    """Raise UserError unless the data give their training images in order, where they are asked for."""
    if limit is not None and not hasattr(splits, "train_in_order"):
        raise UserError(
            f"`evaluate_train` needs data with `train_in_order(limit)`, training images without augmentation, once. "
            f"Received evaluate_train={limit!r} and a {type(splits).__name__} without it: leave it out."
        )


def training_figures(model, splits, limit, place=None):
    """`{"train_accuracy", "train_loss", "train_images"}` of a trained model, in inference mode; empty if not asked for.

    Of labels and values the metrics of their task instead of the accuracy; of many classes `train_top5` too.

    Args:
        model: compiled `keras.Model`.
        splits: data, see `train`.
        limit: see `parse_limit`; of more images than that, so many are drawn, always the same.
        place: `Placement`, of which each worker evaluates its part; None is one device.
    """
    limit = parse_limit(limit)
    if limit is None:
        return {}
    place = Placement("one") if place is None else place
    there = splits.spec.num_train
    count = there if limit == ALL else min(limit, there)
    images = splits.train_in_order(None if count == there else count)
    with place.running():
        found = model.evaluate(place.test_data(images), verbose=0, return_dict=True)
    return {**{f"train_{name}": value for name, value in sorted(found.items())}, "train_images": count}
