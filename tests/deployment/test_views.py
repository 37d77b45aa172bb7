"""Test-time augmentation by hand, and that evaluation takes it."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.evaluation import evaluate
from dirac_keras.deployment.views import VIEWS, averaged_over_views, views_of
from pipelines import load_splits

IMAGE = np.arange(1, 10, dtype="float32").reshape(1, 3, 3, 1)
# Reflected by one pixel, then cut at either corner: [5 4 5; 2 1 2; 5 4 5] and [5 6 5; 8 9 8; 5 6 5].
UP_LEFT = np.array([[5, 4, 5], [2, 1, 2], [5, 4, 5]], "float32")
DOWN_RIGHT = np.array([[5, 6, 5], [8, 9, 8], [5, 6, 5]], "float32")


def views(name):
    return [(view[0, :, :, 0].tolist(), weight) for view, weight in views_of(IMAGE, name)]


def test_six_views_of_an_image_by_hand():
    image = IMAGE[0, :, :, 0]
    parts = ((image, 0.25), (UP_LEFT, 0.125), (DOWN_RIGHT, 0.125))
    expected = [(view.tolist(), weight) for part, weight in parts for view in (part, part[:, ::-1])]
    assert views("flip_shift") == expected
    assert views("flip") == [(image.tolist(), 0.5), (image[:, ::-1].tolist(), 0.5)]
    assert views("none") == [(image.tolist(), 1.0)]


@pytest.mark.parametrize("name", VIEWS)
def test_weights_of_the_views_sum_to_one(name):
    assert sum(weight for _, weight in views(name)) == 1.0
    constant = averaged_over_views(lambda images: np.full((len(images), 2), 3.0), name)
    np.testing.assert_array_equal(constant(IMAGE), [[3.0, 3.0]])


def test_averaged_outputs_do_not_change_with_a_mirrored_image():
    kernel = np.random.default_rng(0).normal(size=(9, 4))
    run = averaged_over_views(lambda images: images.reshape(len(images), 9) @ kernel, "flip")
    np.testing.assert_allclose(run(IMAGE[:, :, ::-1]), run(IMAGE), rtol=1e-6)
    assert not np.allclose(run(IMAGE), IMAGE.reshape(1, 9) @ kernel)


def test_evaluation_averages_the_logits_of_the_views():
    splits = load_splits("digits", max_train=64, max_test=40)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    data = splits.spec.to_dict()
    plain, flipped = (evaluate(model, data, splits, test_time_augmentation=name) for name in ("none", "flip"))
    (images, labels), *_ = [(np.asarray(x), np.asarray(y)) for x, y in splits.test()]
    logits = (model.predict(images, verbose=0) + model.predict(images[:, :, ::-1], verbose=0)) / 2
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chosen = (shifted / shifted.sum(axis=-1, keepdims=True))[np.arange(40), labels]
    assert flipped["loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert flipped["test_time_augmentation"] == "flip" and "test_time_augmentation" not in plain
    assert flipped["loss"] != plain["loss"]


def test_what_cannot_be_is_refused():
    splits = load_splits("digits", max_train=64, max_test=40)
    with pytest.raises(
        ValueError, match=r"must be one of none, flip, flip_shift. Received test_time_augmentation='ten'"
    ):
        evaluate(None, None, splits, test_time_augmentation="ten")
    with pytest.raises(ValueError, match=r"flip_shift' needs images of 2 pixels or more.*images of 1 x 8: take 'flip'"):
        list(views_of(np.zeros((1, 1, 8, 1)), "flip_shift"))
