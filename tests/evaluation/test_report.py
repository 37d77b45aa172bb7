import dataclasses
import itertools

import keras
import numpy as np
import pytest

from dirac_keras.deployment.evaluation import evaluate
from dirac_keras.evaluation.page import make_page
from dirac_keras.evaluation.report import make_report
from dirac_keras.evaluation.subject import Subject
from dirac_keras.evaluation.summary import headline
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
    with pytest.raises(ValueError, match="classes of two are not those of one: a, b, c and 7 more there alone"):
        make_report(subject, letters)
    turned = [*"0123465789"]
    assert subject.data["class_names"] == sorted(turned)
    with pytest.raises(
        ValueError, match=r"in another order, class 5 is 6 there and 5 here\. Give a network of the same"
    ):
        make_report(subject, dataclasses.replace(letters, data={**subject.data, "class_names": turned}))
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


@pytest.mark.slow
def test_mistakes_have_the_names_of_their_files(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, name, k in itertools.product(("train", "test"), "ab", range(3)):
        path = tmp_path / part / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), "uint8")).save(path)
    splits = load_splits(f"folder:{tmp_path}", channels=1, image_size=8)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    report = make_report(Subject("one", model, splits.spec.to_dict(), splits))
    assert report.record["mistakes"]
    for row in report.record["mistakes"]:
        with Image.open(row["file"]) as image:
            assert np.array_equal(np.asarray(image), report.pictures[row["index"]][..., 0])
        assert f"{row['index'] % 3}.png" in make_page(report).html()


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


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")


def judged(model, images, truth, task, outputs=None):
    import pipelines

    splits = pipelines.from_arrays((images, truth), test=(images, truth), task=task)
    subject = Subject("one", model, splits.spec.to_dict(), splits, outputs=outputs)
    ((fed, _),) = subject.batches()
    return make_report(subject, corruptions=("fog",) if task == "labels" else None).record, np.asarray(fed)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("units", [1, 3])
def test_labels_from_logits_or_a_sigmoid(images, activation, units):
    truth = np.random.default_rng(1).integers(0, 2, (40, units))
    truth[:2] = [[0] * units, [1] * units]
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(units)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), dense]
    layers += [keras.layers.Activation("sigmoid")] if activation else []
    record, fed = judged(keras.Sequential(layers), images, truth, "labels")
    kernel, bias = dense.get_weights()
    given = fed.reshape(40, -1) @ kernel + bias > 0
    assert record["exact_match"] == np.mean((given == truth).all(axis=1))
    assert [row["support"] for row in record["per_label"]] == truth.sum(axis=0).tolist()
    assert [row["predicted"] for row in record["per_label"]] == given.sum(axis=0).tolist()
    assert record["corruptions"]["clean"]["accuracy"] == record["exact_match"]


def test_a_softmax_gives_no_labels(images):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3), keras.layers.Softmax()]
    )
    with pytest.raises(ValueError, match="softmax over 3 labels, of which an image may have several"):
        judged(model, images, np.eye(3, dtype=int)[np.arange(40) % 3] | 1, "labels")


def test_values_are_taken_as_they_are(images):
    truth = np.random.default_rng(1).normal(size=(40, 2)) * [1, 100]
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
    record, fed = judged(model, images, truth, "values")
    kernel, bias = dense.get_weights()
    errors = np.abs(fed.reshape(40, -1) @ kernel + bias - truth)
    assert [row["mean_absolute_error"] for row in record["per_value"]] == pytest.approx(errors.mean(axis=0), rel=1e-5)
    in_deviations = np.sqrt(np.mean((errors / truth.std(axis=0)) ** 2, axis=1))
    assert [row["index"] for row in record["mistakes"][:3]] == np.argsort(-in_deviations)[:3].tolist()
    assert record["mistakes"][0]["error_in_deviations"] == pytest.approx(in_deviations.max(), rel=1e-5)


@pytest.mark.parametrize(
    "r2, level, point", [(0.5, "good", None), (-0.1, "bad", "No better than"), (None, "fair", "The same in")]
)
def test_the_verdict_on_values_has_the_error_of_each_and_judges_what_varies(r2, level, point):
    rows = [
        {"name": name, "mean_absolute_error": error, "r2": r} for name, error, r in (("g", 4000, 0.9), ("mm", 0.5, r2))
    ]
    found, text, points = headline({"task": "values", "per_value": rows, "mean_absolute_error": 2000.25})
    assert (found, text) == (level, "Mean absolute error g 4000, mm 0.5.")
    assert [line for line in points if point and line.startswith(point)] == points
    assert headline({"task": "values", "per_value": rows[:1]})[1] == "Mean absolute error 4000."


def test_what_counts_right_answers_is_refused_for_values(images):
    import pipelines

    splits = pipelines.from_arrays((images, np.linspace(0, 1, 40)), test=(images, np.linspace(0, 1, 40)), task="values")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    subject = Subject("one", model, splits.spec.to_dict(), splits)
    for options in ({"other": subject}, {"corruptions": ("fog",)}, {"test_time_augmentation": "flip"}):
        with pytest.raises(ValueError, match="never exactly right"):
            make_report(subject, **options)
    with pytest.raises(ValueError, match="has values, which"):
        evaluate(model, splits.spec.to_dict(), splits)


def test_a_network_of_classes_is_not_judged_on_labels(images):
    import pipelines

    truth = np.arange(40)[:, None] % 2 | np.array([[0, 1, 0]])
    splits = pipelines.from_arrays((images, truth), test=(images, truth), task="labels")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    data = {name: value for name, value in splits.spec.to_dict().items() if name != "task"}
    with pytest.raises(ValueError, match=r"which has classes; .* has labels"):
        make_report(Subject("one", model, data, splits))
