"""Weights of classes: read, counted, and refused where they fit no class."""

import json
import types

import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.class_weights import weights_of

NAMES = ("cat", "dog", "sheep, black")


def splits(labels=(), names=NAMES, **own):
    spec = types.SimpleNamespace(name="pets", class_names=names, num_classes=len(names) if names else 3)
    return types.SimpleNamespace(spec=spec, train_examples=types.SimpleNamespace(labels=np.array(labels)), **own)


def weights(text, data=None):
    return weights_of(TrainConfig(class_weights=text), data or splits([0] * 6 + [1] * 3 + [2]))


def test_no_weights_are_none():
    assert weights(None) is None


def test_balanced_by_hand():
    """6, 3 and 1 images of 3 classes: 10 / (3 * 6), 10 / (3 * 3), 10 / 3; the mean weight of an image is 1."""
    found = weights("balanced")
    np.testing.assert_allclose(found, [10 / 18, 10 / 9, 10 / 3])
    np.testing.assert_allclose(np.average(found, weights=[6, 3, 1]), 1)


def test_balanced_counts_a_stream_where_there_are_no_arrays():
    def train_in_order():
        yield np.zeros((3, 2, 2, 1)), np.array([0, 1, 1])
        yield np.zeros((1, 2, 2, 1)), np.array([1])

    data = types.SimpleNamespace(
        spec=types.SimpleNamespace(name="x", num_classes=2), train_in_order=train_in_order
    )  # without names
    np.testing.assert_allclose(weights("balanced", data), [2, 2 / 3])
    assert weights("1=5", data) == [1, 5]


def test_given_weights_leave_the_others_at_1():
    assert weights("dog=2.5") == [1, 2.5, 1]


def test_a_name_in_another_form_of_unicode_is_the_class_once():
    names = splits(names=("\u00e9t\u00e9", "b"))
    assert weights("e\u0301te\u0301=2", names) == [2, 1]
    with pytest.raises(ValueError, match="names a class once"):
        weights("e\u0301te\u0301=2,\u00e9t\u00e9=3", names)


def test_file_gives_names_with_commas_and_is_not_needed_afterwards(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"sheep, black": 4, "cat": 0.5}))
    config = TrainConfig(class_weights=str(path))
    path.unlink()
    assert weights_of(config, splits()) == [0.5, 1, 4]
    assert TrainConfig.from_mapping(config.to_dict()) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dgo=2", r"names no class of pets. Received 'dgo'. Did you mean dog\?"),
        ("zebra=2", r"Received 'zebra'. Its classes: cat, dog, sheep, black."),
        ("balance", r"class_weights must be balanced, weights such as 'cat=2,dog=0.5', or a JSON file"),
        ("cat=two", r"Received 'cat=two'"),
        ("cat=-1", r"must be numbers of 0 or more. Received cat=-1.0"),
        ("cat=nan", r"must be numbers of 0 or more. Received cat=nan"),
        ("cat=2,dog=1,cat=3", r"names a class once. Received 'cat' twice"),
        ('{"cat": 2, "cat": 3}', r"names a class once. Received 'cat' twice"),
        ("cat=0", r"must leave a class above 0"),
        ("absent.json", r"absent.json cannot be read: No such file"),
        ("{bad", r"is no JSON"),
        ("[1]", r"class_weights must be balanced"),
    ],
)
def test_mistake_is_named(text, message):
    with pytest.raises(UserError, match=message):
        weights(text)


def test_class_without_images_cannot_be_balanced():
    with pytest.raises(UserError, match=r"pets has none of 'sheep, black'"):
        weights("balanced", splits([0, 1, 1]))


@pytest.mark.parametrize("text", ["balanced", "cat=2"])
def test_data_with_several_labels_for_an_image_have_no_weights(text):
    data = splits([[0, 1, 1], [1, 0, 0]])
    data.spec.task = "labels"
    with pytest.raises(UserError, match=r"one class for each image. Received .* for pets, whose task is labels"):
        weights(text, data)
