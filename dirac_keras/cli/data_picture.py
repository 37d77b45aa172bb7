"""The picture of `dirac-keras data show`: pairs of a stored image and what the training sees of it."""

import itertools
import math

import numpy as np

COLUMNS = 8  # pairs
GAP = 0.06  # of an image's width, between the two of a pair
CHARACTERS = 24  # of a label that a pair has room for
LEAST_SHARE = 0.005  # of a label that is worth a word


def draw(splits, augmentation, step, count):
    """A matplotlib figure of the first images of a training batch.

    Args:
        splits: what `pipelines.load_splits` returns.
        augmentation: str, its name for the title.
        step: int, of the batch.
        count: int, images.
    """
    seen, labels = next(iter(splits.train(start_step=step)))
    positions = np.asarray(splits.positions(step))[:count]
    originals = np.concatenate([np.asarray(batch) for batch, _ in splits.train_at(positions)])
    pairs = zip(pixels(originals, splits.spec), pixels(np.asarray(seen)[:count], splits.spec), strict=True)
    texts = [describe_label(label, splits.spec) for label in np.asarray(labels)[:count]]
    title = (
        f"{splits.spec.name}, augmentation {augmentation}: stored (left) and as training step {step} sees it (right)"
    )
    return _figure(list(pairs), texts, title)


def pixels(images, spec):
    """Normalised images as uint8 pixels, `(n, height, width, channels)`."""
    values = images * np.asarray(spec.std, "float32") + np.asarray(spec.mean, "float32")
    return np.clip(np.rint(values), 0, 255).astype("uint8")


def describe_label(label, spec):
    """A label of the training in words: `cat`, of a mixture `cat 70 % + dog 30 %`.

    Args:
        label: a class's number, or `(classes,)` the share of each.
        spec: `DataSpec`.
    """
    if np.ndim(label) == 0:
        return _short(spec.class_names[int(label)])
    shares = sorted(((float(share), name) for share, name in zip(label, spec.class_names, strict=True)), reverse=True)
    shares = [(share, name) for share, name in shares if share >= LEAST_SHARE]
    if len(shares) == 1 and shares[0][0] == 1:
        return _short(shares[0][1])
    return "\n".join(f"{_short(name)} {share:.0%}" for share, name in shares[:2]) or "none"


def _short(name):
    return name if len(name) <= CHARACTERS else name[: CHARACTERS - 1] + "…"


def _figure(pairs, texts, title):
    from matplotlib.figure import Figure  # not pyplot: no global state, no display

    columns, rows = min(COLUMNS, len(pairs)), math.ceil(len(pairs) / COLUMNS)
    height, width = pairs[0][0].shape[:2]
    cell = 2.1  # inches, of a pair's width
    size = (max(6, cell * columns), 0.6 + rows * (cell * height / (2 * width) + 0.45))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    gap = np.full((height, max(1, round(GAP * width)), 3), 255, "uint8")
    for axis, item in itertools.zip_longest(axes, zip(pairs, texts, strict=True)):
        axis.set_axis_off()
        if item is not None:
            pair, text = item
            left, right = (np.broadcast_to(image, (height, width, 3)) for image in pair)
            axis.imshow(np.concatenate([left, gap, right], axis=1), interpolation="nearest")
            axis.set_title(text, fontsize=7, y=0, pad=-3, va="top", parse_math=False)  # a name is no formula
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
