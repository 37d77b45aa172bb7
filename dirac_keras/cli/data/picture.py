"""The picture of `dirac-keras data show`: pairs of a stored image and what the training sees of it."""

import itertools
import math
import textwrap

import numpy as np

from dirac_keras.pages import drawable, in_place, new_figure, shortened, style

COLUMNS = 8  # pairs
PAIR, LEAST_WIDTH = 2.1, 6.6  # inches: a pair's width, that of the picture at least
BETWEEN = 0.06  # inches, around each pair: more than within one
LINE = 0.15  # inches, of a label
LETTERS = 12  # of the title in an inch
GAP = 0.03  # of an image's width, between the two of a pair
LINES = 2  # of a label
CHARACTERS = 24  # of a label that a pair has room for
LEAST_SHARE = 0.005  # of a label that is worth a word


def draw(splits, augmentation, step, count):
    """The first images of a training batch: a matplotlib figure, and what it shows.

    Args:
        splits: what `pipelines.load_splits` returns.
        augmentation: str, its name for the title.
        step: int, of the batch.
        count: int, images.

    Returns: `(figure, list of {"position", "label"})`: the number of each among the training images, and its label in
        words.
    """
    seen, labels = next(iter(splits.train(start_step=step)))
    positions = np.asarray(splits.positions(step))[:count]
    originals = np.concatenate([np.asarray(batch) for batch, _ in splits.train_at(positions)])
    pairs = zip(pixels(originals, splits.spec), pixels(np.asarray(seen)[:count], splits.spec), strict=True)
    labels = np.asarray(labels)[:count]
    texts = [describe_label(label, splits.spec) for label in labels]
    told = [describe_label(label, splits.spec, str, len(splits.spec.class_names)) for label in labels]
    name = in_place(drawable(splits.spec.name))
    title = f"{name}, augmentation {augmentation}: stored (left) and as training step {step} sees it (right)"
    shown = [
        {"position": int(position), "label": text.replace("\n", " + ")}
        for position, text in zip(positions, told, strict=True)
    ]
    return _figure(list(pairs), texts, title), shown


def pixels(images, spec):
    """Normalised images as uint8 pixels, `(n, height, width, channels)`."""
    values = images * np.asarray(spec.std, "float32") + np.asarray(spec.mean, "float32")
    return np.clip(np.rint(values), 0, 255).astype("uint8")


def in_picture(name):
    """A name in a label below a pair: its ends, if it is long, in its place among numbers."""
    return in_place(shortened(drawable(name), CHARACTERS))


def describe_label(label, spec, told=in_picture, most=LINES):
    """A label of the training in words, a line each: `cat`, of a mixture `cat 70%` and `dog 30%`, of values `age 3.5`.

    Args:
        label: a class's number; `(classes,)` the share of each; or of several labels or values a row.
        spec: `DataSpec`.
        told: function of a class's name to the one that is told.
        most: int, lines.
    """
    if np.ndim(label) == 0:
        return told(spec.class_names[int(label)])
    pairs = list(zip(map(float, label), spec.class_names, strict=True))
    if spec.task == "values":
        lines = [f"{told(name)} {value:.4g}" for value, name in pairs]
    else:
        found = sorted((pair for pair in pairs if pair[0] >= LEAST_SHARE), reverse=True)
        lines = [told(name) if share == 1 else f"{told(name)} {share:.0%}" for share, name in found]
    more = f"and {len(lines) - most + 1} more"
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], more]) or "none"


@style()
def _figure(pairs, texts, title):
    columns, rows = min(COLUMNS, len(pairs)), math.ceil(len(pairs) / COLUMNS)
    height, width = pairs[0][0].shape[:2]
    gap = np.full((height, max(1, round(GAP * width)), 3), 255, "uint8")
    # Each row is as high as a pair and the most lines of a label: else empty bands lie between the rows.
    across = max(LEAST_WIDTH, PAIR * columns)
    down = (min(PAIR, across / columns) - 2 * BETWEEN) * height / (2 * width + gap.shape[1])
    down += LINE * (1 + max(text.count("\n") for text in texts)) + 2 * BETWEEN
    title = textwrap.fill(title, int(LETTERS * across))
    size = (across, LINE * (2 + 1.4 * title.count("\n")) + rows * down)
    figure, axes = new_figure(*size, rows, columns, squeeze=False)
    figure.get_layout_engine().set(w_pad=BETWEEN, h_pad=BETWEEN / 2, wspace=0, hspace=0)
    for axis, item in itertools.zip_longest(axes.ravel(), zip(pairs, texts, strict=True)):
        axis.set(xticks=[], yticks=[], frame_on=False)
        if item is not None:
            pair, text = item
            left, right = (np.broadcast_to(image, (height, width, 3)) for image in pair)
            axis.imshow(np.concatenate([left, gap, right], axis=1), interpolation="nearest")
            # A name is no formula.
            axis.set_xlabel(text, fontsize=7.5, labelpad=2, parse_math=False)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
