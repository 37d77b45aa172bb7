"""Occlusion: how far the class score falls when a window of the image is covered."""

import numpy as np
from keras import ops


def occlusion(network, images, targets, baseline, window, stride):
    """Slide a window that shows the baseline over each image.

    Args:
        network: `ScoredNetwork`.
        images: array `(batch, height, width, channels)`.
        targets: array of int `(batch,)`.
        baseline: array of the images' shape, what a covered pixel shows.
        window, stride: pairs of int, pixels along height and width. The last window ends at the border.

    Returns: `(drops, maps)`: drops float32 `(batch, rows, columns)`, one a window, score of the image less that of the
        covered one; maps float32 `(batch, height, width)`, the mean drop of the windows over a pixel.
    Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2; there the probability, here the score.
    """
    height, width = images.shape[1:3]
    tops, lefts = starts(height, window[0], stride[0]), starts(width, window[1], stride[1])
    corners = [(top, left) for top in tops for left in lefts]
    drops = np.stack(
        [
            _drops(network, image, target, shown, corners, window).reshape(len(tops), len(lefts))
            for image, target, shown in zip(images, targets, baseline, strict=True)
        ]
    )
    return drops.astype("float32"), _spread(drops, tops, lefts, window, (height, width)).astype("float32")


def starts(side, window, stride):
    """First pixels of the windows along one side; the last window ends at the border."""
    found = list(range(0, side - window + 1, stride))
    return found if found[-1] == side - window else [*found, side - window]


def _drops(network, image, target, shown, corners, window):
    """The drop of each window, the uncovered image first run with them."""
    (full,) = _measure(network, image[None], target)
    found = []
    for (part,), count in network.chunks([np.array(corners)]):
        covered = np.repeat(image[None], len(part), axis=0)
        for one, (top, left) in zip(covered, part, strict=True):
            where = slice(top, top + window[0]), slice(left, left + window[1])
            one[where] = shown[where]
        found.append(full - _measure(network, covered, target)[:count])
    return np.concatenate(found)


def _measure(network, images, target):
    found = []
    for (part,), count in network.chunks([images]):
        rows = network.score_of(network.feed(part), np.full(len(part), target))
        found.append(ops.convert_to_numpy(rows)[:count])
    return np.concatenate(found)


def _spread(drops, tops, lefts, window, size):
    total, count = np.zeros((len(drops), *size)), np.zeros(size)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            where = slice(top, top + window[0]), slice(left, left + window[1])
            total[(slice(None), *where)] += drops[:, row, column, None, None]
            count[where] += 1
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)
