"""What a network is fed with is told by its file, its layers or the user; where nothing tells it, it is asked for."""

import logging

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.deployment.classifier import image_shape_of
from dirac_keras.deployment.evaluation import evaluate, rank_files
from dirac_keras.deployment.feeding import batch_runner, choose_feed, fed_data
from pipelines import load_splits


@pytest.fixture(scope="module")
def splits():
    return load_splits("digits", max_train=64, max_test=50)


@pytest.fixture(scope="module")
def head():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])


def behind(head, *front, dtype=None, shape=(8, 8, 1), **options):
    x = inputs = keras.Input(shape, dtype=dtype, **options)
    for step in front:
        x = step(x)
    return keras.Model(inputs, head(x))


def keras_own_accuracy(model, splits, scale=1.0):
    test = splits.test_examples
    images, labels = np.asarray(test.images)[test.rows].astype("float32") * scale, test.labels
    return float(np.mean(model.predict(images, verbose=0).argmax(-1) == labels))


SCALING = {
    "rescaling": lambda: (layers.Rescaling(1 / 255),),
    "division": lambda: (lambda x: x / 255.0,),
    "nested": lambda: (
        keras.Sequential([keras.Input((8, 8, 1)), layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1.0)]),
    ),
}


@pytest.mark.parametrize("case", SCALING)
def test_model_that_scales_pixels_itself_is_fed_with_pixels(case, head, splits):
    model = behind(head, *SCALING[case]())
    assert evaluate(model, None, splits)["accuracy"] == keras_own_accuracy(model, splits)


def test_model_that_takes_integers_is_fed_with_pixels(head, splits):
    model = behind(head, lambda x: ops.cast(x, "float32") / 255.0, dtype="uint8")
    assert evaluate(model, None, splits)["accuracy"] == keras_own_accuracy(model, splits)
    with pytest.raises(ValueError, match=r"takes uint8, whole numbers, which are pixels.* Leave `input` out"):
        evaluate(model, None, splits, input="unit")


def test_model_that_says_nothing_is_asked_for(head, splits):
    with pytest.raises(
        ValueError, match=r"neither the model's file nor its layers say .*`input=\"pixels\"` \(0 to 255\)"
    ):
        evaluate(head, None, splits)


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        ("pixels", 0.0, 1.0),
        ("unit", 0.0, 255.0),
        ("symmetric", 127.5, 127.5),
        ("100/50", 100.0, 50.0),
    ],
)
def test_scale_is_what_the_user_says(given, mean, std, head):
    feed = choose_feed(head, 1, None, given)
    assert (feed.mean, feed.std) == ((mean,), (std,))


def test_standardized_is_the_file_s_own_else_the_data_s(head):
    data = {"mean": [1.0], "std": [2.0]}
    assert choose_feed(head, 1, data, "standardized", of_data=((3.0,), (4.0,))).mean == (1.0,)
    assert choose_feed(head, 1, None, "standardized", of_data=((3.0,), (4.0,))).mean == (3.0,)
    with pytest.raises(
        ValueError, match=r'"standardized" needs the mean and deviation .* `input="124,117,104/58,57,57"`'
    ):
        choose_feed(head, 1, None, "standardized")


@pytest.mark.parametrize("given", ["pixel", "1/2/3", "1,2/3,4", "1/0", "nan/1", "1/inf"])
def test_scale_that_is_none_is_refused(given, head):
    with pytest.raises(ValueError, match=r"input must .*Received input="):
        choose_feed(head, 1, None, given)


def test_file_s_own_training_comes_before_its_layers_with_a_warning(head, caplog):
    model = behind(head, layers.Rescaling(1 / 255, name="scale"))
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        feed = choose_feed(model, 1, {"mean": [100.0], "std": [50.0]})
    assert feed.mean == (100.0,)
    assert 'scales its images itself (layer scale) and seems to take pixels; `input="pixels"`' in caplog.text


def test_other_images_than_the_model_takes_are_refused(head, splits):
    colour = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(10)])
    with pytest.raises(ValueError, match=r"takes images of shape 8x8x3, digits has 8x8x1 \(colour there, grey here\)"):
        evaluate(colour, None, splits, input="unit")


def two_heads():
    x = keras.Input((8, 8, 1))
    return keras.Model(x, [layers.Dense(10, name=name)(layers.Flatten()(x)) for name in ("one", "two")])


ODD = {
    "two_outputs": (two_heads, r"has 2 outputs \(one, two\); a classifier has one"),
    "channels_first": (
        lambda: keras.Sequential([keras.Input((3, 8, 8)), layers.Flatten(), layers.Dense(10)]),
        r"takes images of shape \(3, 8, 8\), channels first",
    ),
    "two_inputs": (
        lambda: keras.Model([a := keras.Input((8, 8, 3), name="a"), b := keras.Input((8, 8, 3), name="b")], a + b),
        r"has 2 inputs \(a, b\); a classifier of images has one\. As it is it can be exported in float32 and float16",
    ),
    "vectors": (
        lambda: keras.Sequential([keras.Input((8,)), layers.Dense(10)]),
        r"must take \(batch, height, width, channels\) images",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_classifier_of_images_is_said(case):
    make, message = ODD[case]
    with pytest.raises(ValueError, match=message):
        image_shape_of(make())


def test_one_output_in_a_dict_is_one(splits):
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, {"scores": layers.Dense(10)(layers.Flatten()(x))})
    assert evaluate(model, None, splits, input="unit")["images"] == 50


def test_fixed_batch_is_filled_up():
    x = keras.Input(batch_shape=(8, 4, 4, 1))
    model = keras.Model(x, layers.Dense(3)(ops.reshape(x, (8, 16))))
    images = np.random.default_rng(0).random((11, 4, 4, 1)).astype("float32")
    kernel, bias = map(keras.ops.convert_to_numpy, model.layers[-1].weights)
    np.testing.assert_allclose(
        batch_runner(model)(images), images.reshape(11, 16) @ kernel + bias, rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_files_are_ranked_without_metadata(head, tmp_path):
    model = behind(head, layers.Rescaling(1 / 255))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    keras.utils.save_img(tmp_path / "a.png", image, scale=False)
    scores = np.asarray(model(image[None].astype("float32")))[0]
    ((_, ranking),) = rank_files(model, None, [tmp_path / "a.png"], top=10)
    assert [name for name, _ in ranking] == [str(k) for k in np.argsort(-scores)]
    ((_, named),) = rank_files(model, None, [tmp_path / "a.png"], top=1, labels=list("abcdefghij"))
    assert named[0][0] == "abcdefghij"[scores.argmax()]


def test_labels_of_another_number_are_refused(head):
    with pytest.raises(ValueError, match=r"labels: the model has 10 classes\. Received 2 names"):
        fed_data(head, None, "unit", labels=["a", "b"])


def test_open_size_is_asked_for():
    model = keras.Sequential([keras.Input((None, None, 1)), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"leaves the size of its images open\. Give `image_size`"):
        fed_data(model, None, "unit")
    assert fed_data(model, None, "unit", image_size=(5, 6))[0]["image_shape"] == [5, 6, 1]


def test_outputs_that_are_not_finite_are_no_accuracy(splits):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match=r"outputs are not finite \(NaN or infinite\) for 50 of 50 images"):
        evaluate(model, None, splits, input="unit")


def test_the_layer_that_a_training_puts_before_a_network_is_no_reason_for_a_warning(head, caplog):
    model = behind(head, layers.Rescaling(0.2, 0.4, name="input_scale"), layers.Rescaling(1 / 255, name="its_own"))
    data = {"mean": [100.0], "std": [50.0]}
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        assert choose_feed(model, 1, data).std == (50.0,)
    assert not caplog.text
