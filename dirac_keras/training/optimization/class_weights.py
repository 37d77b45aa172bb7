"""Weights of classes in the loss: `balanced`, `cat=2,dog=0.5`, or a JSON file of them."""

import dataclasses
import json
import math
import pathlib

import numpy as np

from dirac_keras.errors import UserError, did_you_mean
from dirac_keras.listing import find_name
from dirac_keras.training.checks import TEXT, is_number, shortened

BALANCED = "balanced"
_FORM = "balanced, weights such as 'cat=2,dog=0.5', or a JSON file of them"


def parse_weights(text):
    """The weights in a text, `{name: weight}`; None for `balanced`.

    Args:
        text: `"balanced"`, `"cat=2,dog=0.5"`, a JSON object, or the path of a file of one, which ends in `.json`.

    Raises: UserError: if it is something else, or a weight is not a number of 0 or more.
    """
    if text == BALANCED:
        return None
    if text.startswith("{"):
        weights = _parse_object(text, "class_weights")
    elif text.endswith(".json"):
        weights = _read(pathlib.Path(text))
    else:
        weights = _once(map(_pair, text.split(",")))
    for name, weight in weights.items():
        if not is_number(weight) or not math.isfinite(weight) or weight < 0:
            raise UserError(f"class_weights must be numbers of 0 or more. Received {name}={shortened(weight)}.")
    if not any(weights.values()):
        raise UserError(f"class_weights must leave a class above 0. Received class_weights={shortened(text)}.")
    return weights


def _once(pairs):
    """A dict of pairs. Raises: UserError: if a name is there twice, of which a dict would keep one without a word."""
    weights = {}
    for name, weight in pairs:
        if name in weights:
            raise UserError(
                f"class_weights names a class once. Received {shortened(name)} twice: leave one of them out."
            )
        weights[name] = weight
    return weights


def _pair(part):
    name, found, weight = part.strip().rpartition("=")
    try:
        if found and name.strip():
            return name.strip(), float(weight)
    except ValueError:
        pass
    raise UserError(f"class_weights must be {_FORM}. Received {shortened(part)}.")


def _read(path):
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"class_weights: {path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise UserError(f"class_weights: {path} is no text.") from None
    return _parse_object(text, f"class_weights: {path}")


def _parse_object(text, what):
    try:
        weights = json.loads(text, object_pairs_hook=_once)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{what} is no JSON: {error}.") from None
    if not isinstance(weights, dict) or not weights:
        raise UserError(f'{what} must be an object such as {{"cat": 2, "dog": 0.5}}. Received {shortened(weights)}.')
    return weights


def without_file(text):
    """The same weights as a text that needs no file: what a run's record keeps."""
    return json.dumps(parse_weights(text)) if text.endswith(".json") and not text.startswith("{") else text


def weights_of(config, splits):
    """The weights of a `TrainConfig` in the order of a data set's classes: a list, or None if it has none.

    `balanced` gives a class `images / (classes * images of the class)`, of the training images: all classes then count
    alike, and the mean weight of an image is 1. With given weights, a class that is not named has 1.

    Args:
        config: `TrainConfig`.
        splits: data, see `train`.

    Raises: UserError: for a class that the data do not have, with the nearest name.
    """
    if config.class_weights is None:
        return None
    task = getattr(splits.spec, "task", "classes")
    if task != "classes":
        raise UserError(
            f"class_weights are of data with one class for each image. Received {shortened(config.class_weights)} for "
            f"{splits.spec.name}, whose task is {task}: leave them out."
        )
    names = _names(splits.spec)
    given = parse_weights(config.class_weights)
    if given is not None:
        pairs = []
        for name, weight in given.items():
            place = find_name(name, names)
            if place is None:
                raise UserError(f"class_weights names no class of {splits.spec.name}. {_nearest(name, names)}")
            pairs.append((names[place], weight))
        weights = _once(pairs)
        return [float(weights.get(name, 1.0)) for name in names]
    counts = np.bincount(_training_labels(splits), minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise UserError(
            f"class_weights=balanced needs training images of every class. {splits.spec.name} has none of "
            f"{shortened(empty[0])}: leave that class out, or give weights."
        )
    return [float(weight) for weight in counts.sum() / (len(names) * counts)]


def _names(spec):
    names = getattr(spec, "class_names", None)
    return [str(name) for name in names] if names else [str(index) for index in range(spec.num_classes)]


def _nearest(name, names):
    shown = ", ".join(names if len(names) <= 10 else [*names[:10], "..."])
    return f"Received {shortened(name)}. {did_you_mean(name, names) or f'Its classes: {shown}.'}"


def _training_labels(splits):
    """The label of every training image, `(n,)` int."""
    examples = getattr(splits, "train_examples", None)
    if getattr(examples, "labels", None) is not None:
        labels = np.asarray(examples.labels)
    elif hasattr(splits, "train_in_order"):
        labels = np.concatenate([np.asarray(labels) for _, labels in splits.train_in_order()])
    else:
        raise UserError(
            "class_weights=balanced counts the training labels, which these data do not tell: they have no "
            "`train_in_order()`. Give weights, such as 'cat=2,dog=0.5'."
        )
    return labels.astype("int64")


@dataclasses.dataclass(frozen=True)
class Weights:
    """A text of `parse_weights`, for a field of a configuration."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        TEXT.check(name, value)
        parse_weights(value)
