import dataclasses

import keras
import numpy as np
import pytest

from dirac_keras.deployment.evaluation import evaluate, rank_files
from pipelines import load_splits


@pytest.fixture(scope="module")
def splits():
    return load_splits("digits", max_train=128, max_test=50)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


def test_figures_equal_keras_own(model, splits):
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")],
    )
    expected = model.evaluate(splits.test(), verbose=0, return_dict=True)
    figures = evaluate(model, splits.spec.to_dict(), splits)
    assert figures["images"] == 50
    assert figures["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert figures["top5"] == pytest.approx(expected["top5"], abs=1e-6)
    assert figures["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_probabilities_are_taken_as_they_are(model, splits):
    softmax = keras.Sequential([model, keras.layers.Softmax()])
    logits, probabilities = (
        evaluate(model, None, splits, input="standardized"),
        evaluate(softmax, None, splits, input="standardized"),
    )
    assert probabilities["loss"] == pytest.approx(logits["loss"], rel=1e-5)


def test_images_are_normalised_as_in_training(model, splits):
    trained_on = {**splits.spec.to_dict(), "mean": [0.0], "std": [255.0]}
    spec = dataclasses.replace(splits.spec, mean=(0.0,), std=(255.0,))
    expected = evaluate(model, None, dataclasses.replace(splits, spec=spec), input="standardized")
    assert evaluate(model, trained_on, splits)["loss"] == expected["loss"]


def test_train_split_is_evaluated_without_augmentation(model, splits):
    data = splits.spec.to_dict()
    assert evaluate(model, data, splits, "train") == evaluate(model, data, splits, "train")
    assert evaluate(model, data, splits, "train")["images"] == 128


def test_other_class_names_are_refused(model, splits):
    trained_on = {**splits.spec.to_dict(), "name": "letters", "class_names": list("abcdefghij")}
    told = (
        "trained on letters, whose classes are not those of digits: there a, b, c and 7 more, here 0, 1, 2 and 7 more"
    )
    with pytest.raises(ValueError, match=told):
        evaluate(model, trained_on, splits)
    names = list(splits.spec.class_names)
    swapped = {**trained_on, "class_names": [*names[:7], "9", "8", "7"]}
    with pytest.raises(ValueError, match=r"not those of digits: in another order, there 9, 7, here 7, 9\. Rename them"):
        evaluate(model, swapped, splits)


def test_other_number_of_classes_is_refused(splits):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"the model has 3 classes, data digits has 10. Give"):
        evaluate(model, None, splits)
    trained_on = {**splits.spec.to_dict(), "class_names": ["0", "1", "cat"]}
    with pytest.raises(ValueError, match=r"digits has 10 \(without cat, new are 2, 3, 4 and 5 more\)\. Give"):
        evaluate(model, trained_on, splits)


def test_empty_validation_split_is_refused(model, splits):
    with pytest.raises(ValueError, match=r"split 'validation' is empty"):
        evaluate(model, splits.spec.to_dict(), splits, "validation")


def test_model_without_preprocessing_asks_before_it_ranks_files(model):
    with pytest.raises(ValueError, match=r"neither the model's file nor its layers say what its images are scaled to"):
        next(rank_files(model, {}, ["a.png"]))


def test_ranking_of_a_file_equals_the_models_probabilities(model, splits, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    keras.utils.save_img(tmp_path / "a.png", image, scale=False)
    spec = splits.spec
    logits = np.asarray(model((image[None] - np.array(spec.mean)) / np.array(spec.std)))[0].astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum()
    _, ranking = next(rank_files(model, spec.to_dict(), [tmp_path / "a.png"], top=10))
    assert [name for name, _ in ranking] == [str(k) for k in np.argsort(-probabilities)]
    np.testing.assert_allclose([p for _, p in ranking], np.sort(probabilities)[::-1], rtol=1e-4)
