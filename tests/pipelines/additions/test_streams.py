"""Additions in the streams of the reader that the backend takes: a function of seed and step alone."""

import io

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError, from_arrays, load_splits
from pipelines.arrays.pixels import normalize

ALL = "none+randaugment+erasing:0.5+mixup+cutmix"


def batch(splits, step, shard=(0, 1)):
    images, labels = next(iter(splits.train(step, shard=shard)))
    return np.asarray(images), np.asarray(labels)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of colour images of two classes, of several sizes."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, name, count in (("train", "a", 7), ("train", "b", 6), ("test", "a", 2), ("test", "b", 2)):
        (folder / part / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            data = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (30 + k, 40, 3), dtype=np.uint8)).save(data, "PNG")
            (folder / part / name / f"{k}.png").write_bytes(data.getvalue())
    return f"folder:{folder}"


def stored(**options):
    return load_splits("digits", batch_size=14, max_train=70, max_test=10, **options)


def on_disk(photos, **options):
    return load_splits(photos, batch_size=7, image_size=24, **options)


@pytest.fixture(params=["stored", "encoded"])
def splits(request, photos):
    """Images in memory, and image files that are cut at random and so decoded for each batch."""
    if request.param == "stored":
        return stored(augmentation=ALL)
    return on_disk(photos, augmentation="imagenet+autoaugment+jitter:0.4:0.4:0.4:0.1+vflip+grey+blur+erasing+mixup")


@pytest.mark.slow
def test_a_stream_that_begins_later_and_parts_of_workers_give_the_same_images(splits):
    """Bit for bit: resumed runs and any number of workers see what one process sees."""
    whole = [(np.asarray(x), np.asarray(y)) for (x, y), _ in zip(splits.train(), range(3), strict=False)]
    images, labels = whole[2]
    again = batch(splits, 2)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(labels, again[1])
    parts = [batch(splits, 2, (index, 2)) for index in range(2)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)
    assert not np.array_equal(images, whole[1][0])


@pytest.mark.slow
def test_labels_of_mixed_images_are_shares_and_those_of_evaluation_stay_classes(splits):
    images, labels = batch(splits, 0)
    assert labels.shape == (len(images), splits.spec.num_classes) and labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    assert ((labels > 0).sum(1) <= 2).all() and (labels.max(1) < 1).any()
    assert np.asarray(next(iter(splits.test()))[1]).dtype == np.int32


def test_without_a_mixture_labels_stay_classes_of_the_same_order():
    plain, erased = stored(augmentation="none"), stored(augmentation="none+erasing:1")
    (images, labels), (others, other_labels) = batch(plain, 1), batch(erased, 1)
    np.testing.assert_array_equal(labels, other_labels)
    changed = (images != others).any(axis=(1, 2, 3))
    assert changed.mean() > 0.8
    assert set(np.unique(others[images != others])) == {normalize(_level(erased), *_scale(erased)).item()}


def _scale(splits):
    return splits.spec.mean, splits.spec.std


def _level(splits):
    """The mean level of the data, as one pixel."""
    return np.full((1, 1, 1), round(splits.spec.mean[0]), np.uint8)


def test_a_batch_is_what_the_stage_makes_of_the_stored_images():
    splits = stored(augmentation=ALL)
    images, labels = batch(splits, 4)
    where = splits.positions(4)[splits.stage.needed((0, 14))]  # the first is the last one's partner
    assert where[0] == where[-1]
    examples = splits.train_examples.take(where)
    pixels = np.asarray(examples.images)[examples.rows]
    mixed, shares = splits.stage.whole(pixels, examples.labels, 4, (0, 14))
    np.testing.assert_array_equal(labels, shares)
    np.testing.assert_array_equal(images, normalize(mixed, *_scale(splits)))


def test_both_readers_draw_the_same_additions():
    pytest.importorskip("tensorflow")
    one, other = (stored(augmentation=ALL, reader=reader) for reader in ("numpy", "tensorflow"))
    for mine, theirs in zip(one.stage.mixture(3), other.stage.mixture(3), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    assert all(
        np.array_equal(one.stage.change_pixels(image, 3, k), other.stage.change_pixels(image, 3, k)) for k in range(14)
    )


def test_seeds_and_steps_give_other_additions():
    stages = [stored(augmentation=ALL, seed=seed).stage for seed in (0, 1)]
    drawn = [stages[0].mixture(0).shares, stages[0].mixture(1).shares, stages[1].mixture(0).shares]
    assert len({tuple(shares) for shares in drawn}) == 3


def test_grey_images_refuse_what_is_of_colours_by_the_commands_words():
    with pytest.raises(DataError, match=r"augmentation='none\+jitter' has jitter of saturation and hue"):
        stored(augmentation="none+jitter")


def test_rows_of_labels_are_mixed_and_stay_rows():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    rows = draw.integers(0, 2, (20, 4))
    splits = from_arrays((images, rows), test=(images, rows), batch_size=5, augmentation="none+mixup:1")
    assert splits.task == "labels"
    _, labels = batch(splits, 0)
    where = splits.positions(0)
    own, others = rows[where], rows[np.roll(where, -1)]
    share = splits.stage.mixture(0).label_shares[:, None]
    np.testing.assert_allclose(labels, share * own + (1 - share) * others, rtol=1e-6)
    assert labels.dtype == np.float32


def test_the_data_service_is_refused_which_runs_no_python():
    pytest.importorskip("tensorflow")
    splits = stored(augmentation="none+mixup", reader="tensorflow")
    with pytest.raises(DataError, match="data_service computes with TensorFlow's operations alone"):
        splits.train(data_service="grpc://localhost:1")
