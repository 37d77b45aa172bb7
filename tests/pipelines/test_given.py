"""Arrays and datasets from Python: the same splits, what is inferred, what is refused."""

import dataclasses
import itertools

import numpy as np
import pytest

from pipelines import DataError, from_arrays, from_dataset
from pipelines.readers.drawn import draw_test

GENERATOR = np.random.default_rng(5)
IMAGES = GENERATOR.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
CLASSES = np.arange(40) % 4
LABELS = GENERATOR.integers(0, 2, (40, 3))
OPTIONS = {"batch_size": 4, "reader": "numpy"}


def batches(splits):
    return [(images.copy(), labels.copy()) for images, labels in map(splits.test().__getitem__, range(2))]


def test_arrays_are_normalised_with_their_own_statistics_and_split_by_class():
    splits = from_arrays((IMAGES, CLASSES), class_names=["d", "c", "b", "a"], **OPTIONS)
    assert splits.task == "classes" and splits.spec.class_names == ("d", "c", "b", "a")
    assert np.bincount(splits.test_examples.labels).tolist() == [2, 2, 2, 2]  # a fifth of ten
    seen = IMAGES[splits.train_examples.rows].reshape(-1, 3)
    np.testing.assert_allclose(splits.spec.mean, seen.mean(0), atol=1e-3)  # rounded to three places
    images, labels = splits.test()[0]
    expected = (IMAGES[splits.test_examples.rows[:4]] - seen.mean(0)) / seen.std(0)
    np.testing.assert_allclose(images, expected, atol=1e-4)
    assert labels.dtype == np.int32


def test_rows_of_zeros_and_ones_are_labels_and_come_with_the_images():
    splits = from_arrays((IMAGES, LABELS), (IMAGES[:8], LABELS[:8]), **OPTIONS)
    assert splits.task == "labels" and splits.spec.class_names == ("label0", "label1", "label2")
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches(splits)]), LABELS[:8])
    images, labels = splits.train()[0]
    positions = splits.draws(0).positions
    np.testing.assert_array_equal(labels, LABELS[positions])
    assert images.shape == (4, 6, 5, 3)


def test_floats_are_values_with_their_statistics_in_the_spec():
    values = np.linspace(10, 49, 40)
    splits = from_arrays((IMAGES, values), validation=0.25, **OPTIONS)
    assert splits.task == "values" and splits.train()[0][1].dtype == np.float32
    kept = splits.train_examples.labels
    assert len(kept) == 24 and kept.shape == (24, 1)  # of 40: 8 for test, 8 for validation
    np.testing.assert_allclose(splits.spec.value_mean, [kept.mean()], rtol=1e-6)
    assert type(splits.spec).from_dict(splits.spec.to_dict()) == splits.spec


def test_names_as_labels_are_classes_in_their_order():
    splits = from_arrays((IMAGES, np.array(["dog", "cat"] * 20)), **OPTIONS)
    assert splits.spec.class_names == ("cat", "dog") and splits.train_examples.labels[:2].tolist() in ([1, 0], [0, 1])


def test_a_dataset_is_kept_as_it_came_in_batches_or_one_by_one():
    pairs = list(zip(IMAGES, CLASSES, strict=True))
    whole = [(IMAGES[k : k + 16], CLASSES[k : k + 16]) for k in range(0, 40, 16)]
    one, other = (from_dataset(data, **OPTIONS) for data in (pairs, whole))
    for mine, theirs in zip(batches(one), batches(other), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
    np.testing.assert_array_equal(one.train()[7][0], other.train()[7][0])


def test_a_dataset_of_tensorflow_is_read_and_one_that_repeats_refused():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, CLASSES))
    splits = from_dataset(dataset.batch(7), dataset.take(9), **OPTIONS)
    assert (splits.spec.num_train, splits.spec.num_test) == (40, 9)
    with pytest.raises(DataError, match=r"train must be a dataset that ends.*repeat\(\)"):
        from_dataset(dataset.repeat(), **OPTIONS)


def test_a_dataset_without_an_end_is_refused_at_a_number_of_elements(monkeypatch):
    """Of tiny images 4 GiB come after hundreds of millions of them, of none at all never."""
    monkeypatch.setattr("pipelines.given.MOST_ELEMENTS", 40)
    pairs = list(zip(IMAGES, CLASSES, strict=True))
    assert from_dataset(pairs, **OPTIONS).spec.num_train + 8 == 40
    for element in (pairs[0], (IMAGES[:0], CLASSES[:0])):
        with pytest.raises(DataError, match=r"train has more than 40 elements.*leave out its repeat\(\)"):
            from_dataset(itertools.repeat(element), **OPTIONS)


def test_the_test_part_of_labels_leaves_every_label_in_train():
    labels = np.zeros((30, 4), int)
    labels[:, 0] = 1
    labels[3, 1] = labels[17, 2] = labels[18, 2] = labels[5, 3] = 1  # of label 1 and 3 there is one image
    train, test = draw_test(labels, "labels")
    assert sorted([*train, *test]) == list(range(30)) and len(test) > 3
    assert (labels[train].sum(0) > 0).all()


REFUSED = {
    "float images": ((IMAGES / 255.0, CLASSES), {}, r"uint8.*from 0 to 1: give np\.rint\(255 \* images\)"),
    "16 bits": ((IMAGES.astype("uint16") * 257, CLASSES), {}, r"uint16.*// 257"),
    "channels first": ((IMAGES.transpose(0, 3, 1, 2), CLASSES), {}, "channels last"),
    "too few labels": ((IMAGES, CLASSES[:7]), {}, r"a label for each image.*40 images"),
    "one-hot": ((IMAGES, np.eye(4, dtype=int)[CLASSES]), {}, r"a single 1.*argmax"),
    "a column": ((IMAGES, CLASSES[:, None]), {}, r"shape \(40, 1\).*labels\[:, 0\].*task=\"values\""),
    "no label": (
        (IMAGES, np.array(["a", None] * 20, object)),
        {},
        r"a label for each.*None for 20 of 40, the first at 1",
    ),
    "NaN as a name": (
        (IMAGES, np.array(["a", np.nan] * 20, object)),
        {},
        r"a label for each image. Received nan for 20",
    ),
    "identifiers": ((IMAGES, CLASSES * 10**14), {}, r"no image of 299,999,999,999,997 of the classes.*\(1, 2, 3"),
    "a gap": ((IMAGES, CLASSES * 2), {}, r"no image of 3 of the classes 0 to 6 \(1, 3, 5\)"),
    "negative": ((IMAGES, CLASSES - 1), {}, "whole numbers from 0"),
    "fractions as classes": ((IMAGES, CLASSES / 2), {"task": "classes"}, "whole numbers from 0"),
    "twos as labels": ((IMAGES, LABELS * 2), {"task": "labels"}, "labels of 0 and 1"),
    "whole floats": (
        (IMAGES, CLASSES.astype("float32")),
        {},
        r"float32 are the whole numbers from 0 to 3.*astype\(int\).*\"values\"",
    ),
    "beyond float32": ((IMAGES, np.full(40, 1e39)), {"task": "values"}, r"finite numbers \(of float32\)"),
    "-1 to 1": ((IMAGES / 127.5 - 1, CLASSES), {}, r"give np\.rint\(127\.5 \* \(images \+ 1\)\)"),
    "NaN in images": ((np.where(IMAGES > 200, np.nan, IMAGES), CLASSES), {}, "pixels that are not finite"),
    "not finite": ((IMAGES, np.full(40, np.nan)), {}, "finite numbers"),
    "too few names": ((IMAGES, CLASSES), {"class_names": ["a", "b"]}, "name each class, 0 to 3"),
    "no pair": (IMAGES, {}, r"pair \(images, labels\)"),
    "no task": ((IMAGES, CLASSES), {"task": "regression"}, "task must be one of"),
}


@pytest.mark.parametrize("train, options, message", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_the_way_out(train, options, message):
    with pytest.raises(DataError, match=message):
        from_arrays(train, **options, **OPTIONS)


def test_a_test_part_with_a_name_that_train_lacks_is_refused():
    names = np.array(["dog", "cat"] * 20)
    with pytest.raises(DataError, match="test has labels that train lacks: cow"):
        from_arrays((IMAGES, names), (IMAGES[:2], np.array(["dog", "cow"])), **OPTIONS)


def test_a_test_part_with_a_class_or_label_that_train_lacks_is_refused():
    with pytest.raises(DataError, match=r"test has classes that train lacks: c\. Leave"):
        from_arrays((IMAGES, CLASSES % 2), (IMAGES[:2], np.array([0, 2])), class_names=["a", "b", "c"], **OPTIONS)
    with pytest.raises(DataError, match="test has labels that train lacks: label1"):
        from_arrays((IMAGES, LABELS * [1, 0, 1]), (IMAGES[:8], LABELS[:8]), task="labels", **OPTIONS)


def test_images_of_one_value_and_classes_that_are_held_out_are_said(caplog):
    from_arrays(((IMAGES / 255).astype("uint8") * 0, CLASSES), **OPTIONS)
    assert "train: all pixels are 0. Images that were divided by 255" in caplog.text
    caplog.clear()
    from_arrays((IMAGES, CLASSES), (IMAGES[:4], CLASSES[:4]), **OPTIONS)
    assert not caplog.text
    rare = np.where(np.arange(40) == 0, 1, 0)  # one image, which a validation of 39 of 40 leaves out but for one seed
    from_arrays((IMAGES, rare), (IMAGES[1:3], rare[1:3]), validation=39, class_names=["often", "rare"],
                **OPTIONS | {"batch_size": 1})  # fmt: skip
    assert "validation holds out all training images of 1 of 2 classes: rare" in caplog.text


def test_a_dataset_of_dicts_is_refused_with_their_keys():
    with pytest.raises(DataError, match=r"Received dict with image, label: give pairs of two of them"):
        from_dataset([{"image": IMAGES[0], "label": 0}], **OPTIONS)


def test_names_that_differ_in_capitals_alone_are_said(caplog):
    splits = from_arrays((IMAGES, np.array(["Cat", "cat"] * 20)), **OPTIONS)
    assert splits.spec.class_names == ("Cat", "cat")
    assert "arrays: Cat and cat are different ones, and differ in capitals" in caplog.text


def test_a_dataset_whose_labels_differ_in_shape_is_refused():
    with pytest.raises(DataError, match=r"labels of one shape.*\[\(0,\), \(1,\)\]"):
        from_dataset([(image, np.arange(k % 2)) for k, image in enumerate(IMAGES)], **OPTIONS)


def test_grey_images_in_batches_are_batches_also_the_last_short_one():
    grey = IMAGES[..., 0]
    batches_of = [(grey[k : k + 37], CLASSES[k : k + 37]) for k in range(0, 40, 37)]
    one, other = from_dataset(batches_of, **OPTIONS), from_arrays((grey, CLASSES), **OPTIONS)
    assert one.spec == dataclasses.replace(other.spec, name="dataset")
    single = [(image[:4, :4], np.array([1, 0, 0, 1])) for image in IMAGES]  # as many rows as labels: one image
    assert from_dataset(single, task="labels", **OPTIONS).spec.image_shape == (4, 4, 3)


def test_bytes_name_classes_as_texts_do():
    splits = from_arrays((IMAGES, np.array([b"dog", b"cat"] * 20)), **OPTIONS)
    assert splits.spec.class_names == ("cat", "dog")
