"""What an explanation is: a map for each image, and the numbers that belong to it."""

import dataclasses

import numpy as np

from dirac_keras.brief import brief


@brief
@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """One method on some images.

    Attributes:
        method: str.
        maps: array float32 `(images, height, width)`, of the size of the images. Of `gradcam` at least 0; of the other
            methods positive where the image speaks for the class, negative where against it.
        targets: tuple of int, the class that is explained, one for each image.
        predicted: tuple of int, the likeliest class; of values those of `targets`, whose `scores` are the prediction.
        names: tuple of str, of all classes.
        scores: tuple of float, what is explained: the class's number in front of the softmax or sigmoid.
        probabilities: tuple of float, of `targets`; None where the network gives values.
        is_score: bool; false where no number in front of the softmax is to be had, and the output itself is explained.
        layer: str, path of the layer that `gradcam` looked at; "" for the others.
        coarse: array `(images, rows, columns)`: the map of that layer's positions, or the drop of each window of
            `occlusion`; None for `integrated_gradients`.
        attributions: array `(images, height, width, channels)` of `integrated_gradients`; else None.
        differences, gaps: tuples of float, of `integrated_gradients`: score of the image less that of the baseline, and
            how far the sum of the attributions is from it; else None.
        settings: dict, the method's options as they were used.
    """

    method: str
    maps: np.ndarray
    targets: tuple
    predicted: tuple
    names: tuple
    scores: tuple
    probabilities: tuple | None
    is_score: bool
    layer: str = ""
    coarse: np.ndarray | None = None
    attributions: np.ndarray | None = None
    differences: tuple | None = None
    gaps: tuple | None = None
    settings: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.maps)

    @property
    def has_classes(self):
        """Whether the network tells classes or labels, of which one is the likeliest, and no values."""
        return self.probabilities is not None

    @property
    def is_signed(self):
        """Whether a map may be negative."""
        return self.method != "gradcam"

    def incompleteness(self, index):
        """The gap of one image's attributions as a share of the difference that they should sum to; None elsewhere."""
        if self.gaps is None:
            return None
        return abs(self.gaps[index]) / max(abs(self.differences[index]), 1e-12)

    def record(self, index):
        """The numbers of one image, JSON-safe."""
        target, predicted = self.targets[index], self.predicted[index]
        found = {
            "method": self.method,
            "class": self.names[target],
            "class_index": target,
            "score": self.scores[index],
            "probability": None if self.probabilities is None else self.probabilities[index],
            "predicted": self.names[predicted] if self.has_classes else self.scores[index],
            "predicted_index": predicted if self.has_classes else None,
            "explains": "score" if self.is_score else "output",
            "largest": float(self.maps[index].max()),
            "smallest": float(self.maps[index].min()),
        }
        peak = np.unravel_index(np.abs(self.maps[index]).argmax(), self.maps[index].shape)
        found["peak"] = [int(side) for side in peak]  # row, column
        if self.layer:
            found["layer"] = self.layer
        if self.coarse is not None:
            found["map"] = np.round(self.coarse[index].astype("float64"), 6).tolist()
        if self.gaps is not None:
            found |= {"difference": self.differences[index], "gap": self.gaps[index]}
            found["incompleteness"] = self.incompleteness(index)
        return found | {"settings": self.settings}


def predicted_of(record):
    """What an image's record says was predicted, as a text: the likeliest class, or the value that is explained."""
    found = record["predicted"]
    return f"{found:.4g}" if isinstance(found, float) else found
