import dataclasses

import keras
import numpy as np
import pytest

from dirac_keras.deployment.evaluation import evaluate
from dirac_keras.evaluation.report import make_report
from dirac_keras.evaluation.subject import Subject
from pipelines import load_splits


@pytest.fixture(scope="module")
def splits():
    return load_splits("digits", max_train=64, max_test=60, eval_batch_size=25)


def network(seed=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


@pytest.fixture(scope="module")
def subject(splits):
    return Subject("one", network(), splits.spec.to_dict(), splits)


@pytest.mark.parametrize("views", ["none", "flip"])
def test_figures_are_those_of_evaluate(subject, splits, views):
    expected = evaluate(subject.model, subject.data, splits, test_time_augmentation=views)
    record = make_report(subject, test_time_augmentation=views).record
    for name in ("images", "loss", "accuracy", "top5"):
        assert record[name] == pytest.approx(expected[name], rel=1e-12), name
    assert ("views" in record) == (views != "none")


def test_before_and_after_views_are_the_figures_of_both(subject, splits):
    plain = evaluate(subject.model, subject.data, splits)
    found = make_report(subject, test_time_augmentation="flip").record["views"]
    assert found["accuracy_before"] == pytest.approx(plain["accuracy"])
    assert found["loss_before"] == pytest.approx(plain["loss"])
    assert found["accuracy_after"] - found["accuracy_before"] == pytest.approx(found["difference"]["value"])


def test_comparison_with_another_network(subject, splits):
    other = Subject("two", network(4), splits.spec.to_dict(), splits)
    found = make_report(subject, other).record["comparison"]
    assert found["accuracy"] == pytest.approx(evaluate(other.model, other.data, splits)["accuracy"])
    assert found["both"] + found["only_first"] + found["only_second"] + found["neither"] == 60
    assert found["model"] == "two"


def test_comparison_with_itself_shows_no_difference(subject):
    found = make_report(subject, subject).record["comparison"]
    assert (found["only_first"], found["only_second"], found["mcnemar"]["exact"]) == (0, 0, 1.0)
    assert found["agreement"] == 1.0


def test_networks_of_other_classes_are_not_compared(subject, splits):
    letters = dataclasses.replace(subject, name="two", data={**subject.data, "class_names": list("abcdefghij")})
    with pytest.raises(ValueError, match=r"`compare`: the classes of two are not those of one: a, b, c, \.\.\. there"):
        make_report(subject, letters)
    few = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`compare`: two has 3 classes, one has 10"):
        make_report(subject, Subject("two", few, None, splits))


def test_other_images_are_not_compared(subject):
    others = load_splits("digits", max_train=64, max_test=50)
    with pytest.raises(ValueError, match=r"different images \(60 and 50\)"):
        make_report(subject, dataclasses.replace(subject, splits=others))


def test_the_same_seed_gives_the_same_record(subject):
    one, two = (make_report(subject, corruptions=("gaussian_noise",), corruption_images=20) for _ in range(2))
    assert one.record == two.record
    assert one.record["corruptions"]["images"] == 20
    assert one.record["mistakes"] and {row["index"] for row in one.record["mistakes"]} == set(one.pictures)


def test_pictures_are_the_images_of_the_data_set(subject, splits):
    found = make_report(subject)
    images = np.asarray(splits.stored("test").images)[splits.stored("test").rows]
    for index, pixels in found.pictures.items():
        assert np.array_equal(pixels, images[index])


def test_a_part_without_images_is_named(subject):
    with pytest.raises(ValueError, match="digits has no validation images"):
        make_report(dataclasses.replace(subject, split="validation"))


@pytest.mark.parametrize("last", [1, 2])
def test_two_classes_in_one_unit_or_two(last):
    import pipelines

    rng = np.random.default_rng(0)
    images, truth = rng.integers(0, 256, (40, 8, 8, 1), "uint8"), np.arange(40) % 2
    splits = pipelines.from_arrays((images, truth), test=(images, truth), task="classes")
    keras.utils.set_random_seed(0)
    activation = "sigmoid" if last == 1 else "softmax"
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(last, activation=activation)]
    )
    record = make_report(Subject("one", model, splits.spec.to_dict(), splits)).record
    assert len(record["per_class"]) == 2
    assert 0.0 <= record["second_class"]["roc_auc"] <= 1.0
    assert sum(sum(row) for row in record["confusion"]["matrix"]) == 40
