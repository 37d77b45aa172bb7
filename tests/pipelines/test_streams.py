"""The streams of `load_splits`: exact to resume, one visit an epoch, nothing shared between the splits."""

import itertools
import json
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import pipelines
from pipelines import DataError, DataSpec, augment, load_splits, orders, scaling, streams
from pipelines.augmentation import NAMES
from pipelines.examples import Examples, View

VIEW = View((1, 1, 1), (0.0,), (1.0,))


def numbered(count):
    """Examples whose single pixel is their number modulo 256 and whose label is their number."""
    return Examples.in_memory((np.arange(count) % 256).astype(np.uint8).reshape(-1, 1, 1, 1), np.arange(count))


def order_of(count, batch_size, seed, batches, start_step=0):
    """The example numbers of the first batches, `(batches, batch_size)`."""
    stream = orders.epoch_orders(count, batch_size, count // batch_size, seed, start_step)
    return np.stack([positions for _, positions in stream.take(batches).as_numpy_iterator()])


def take(stream, count):
    return list(stream.take(count).as_numpy_iterator())


def assert_same_batches(first, second):
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.fixture(scope="module")
def digits():
    return load_splits("digits", batch_size=100, validation=200)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), seed=st.integers(0, 2**62))
def test_epoch_visits_each_example_at_most_once(count, batch_size, seed):
    batch_size = min(batch_size, count)
    steps = count // batch_size
    for epoch in order_of(count, batch_size, seed, 2 * steps).reshape(2, -1):
        assert len(set(epoch)) == steps * batch_size
        assert set(epoch) <= set(range(count))


def test_epochs_have_different_orders():
    first, second = order_of(1000, 100, 0, 20).reshape(2, -1)
    assert not np.array_equal(first, second)


def test_orders_of_successive_epochs_are_not_correlated():
    """The mean of 30 correlations of independent orders of 5,000 stays within 5 / sqrt(30 * 5000)."""
    orders = order_of(5000, 5000, 0, 31)
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(orders)]
    assert np.sqrt(np.mean(np.square(correlations))) < 1.6 / np.sqrt(5000)


@pytest.mark.parametrize("start", [1, 9, 10, 11, 25, 1000003])
def test_order_started_late_is_the_order_started_at_zero(start):
    """Within an epoch, at its ends, and epochs later."""
    late = order_of(105, 10, 5, 3, start_step=start)
    if start < 100:
        np.testing.assert_array_equal(late, order_of(105, 10, 5, start + 3)[start:])
    else:
        np.testing.assert_array_equal(late[1:], order_of(105, 10, 5, 2, start_step=start + 1))


@pytest.mark.parametrize("start", [1, 7, 9, 10, 23])
def test_stream_started_at_step_k_equals_the_stream_after_k_batches(start):
    """Images too: augmentation depends on the step, not on how it was reached."""
    splits = load_splits("digits", batch_size=120)
    assert_same_batches(take(splits.train(start), 3), take(splits.train(), start + 3)[start:])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_of_a_batch_are_the_batch(count):
    """Image for image, with the augmentation of the whole batch; 100 is no multiple of 3 and 7."""
    splits = load_splits("digits", batch_size=100)
    whole = take(splits.train(3), 2)
    parts = [take(splits.train(3, shard=(index, count)), 2) for index in range(count)]
    for step, (images, labels) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[step][1] for part in parts]), labels)


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0), (0, 101)])
def test_shard_that_cannot_be_is_an_error(digits, shard):
    with pytest.raises(DataError, match=r"shard must be \(index, count\).*Received shard="):
        digits.train(shard=shard)


def test_same_seed_gives_the_same_stream(digits):
    again = load_splits("digits", batch_size=100, validation=200)
    assert_same_batches(take(digits.train(), 3), take(again.train(), 3))


def test_another_seed_gives_another_order_and_another_augmentation(digits):
    other = load_splits("digits", batch_size=100, validation=200, seed=1)
    (_, labels), (_, other_labels) = take(digits.train(), 1)[0], take(other.train(), 1)[0]
    assert not np.array_equal(labels, other_labels)
    examples = Examples.in_memory(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)), [0])
    view = View((8, 8, 1), (0.0,), (1.0,))
    first, second = (
        take(
            streams.train_stream(
                examples,
                view,
                augmentation=augment.AUGMENTATIONS["cifar"],
                batch_size=1,
                steps_per_epoch=1,
                seed=s,
            ),
            4,
        )
        for s in (0, 1)
    )  # one example: only the augmentation can differ
    assert not all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))


def test_augmentation_of_an_image_changes_between_epochs():
    examples = Examples.in_memory(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)), [0])
    stream = streams.train_stream(
        examples, View((8, 8, 1), (0.0,), (1.0,)), augmentation=augment.AUGMENTATIONS["cifar"],
        batch_size=1, steps_per_epoch=1, seed=0,
    )  # fmt: skip
    assert len({images.tobytes() for images, _ in take(stream, 8)}) > 4


def test_alternating_flips_show_each_image_from_both_sides_by_turns():
    """Images of a black and a white column, which tell the side; resumed in the second epoch as well."""
    image = np.array([[0, 255]], np.uint8).reshape(1, 1, 2, 1)
    examples = Examples.in_memory(np.repeat(image, 100, axis=0), np.arange(100))
    by_turns = augment.Augmentation(flip=True, alternating=True)

    def flips(start_step):
        """By epoch the examples that are mirrored."""
        stream = streams.train_stream(
            examples, View((1, 2, 1), (0.0,), (1.0,)), augmentation=by_turns, batch_size=25, steps_per_epoch=4, seed=1,
            start_step=start_step,
        )  # fmt: skip
        batches = take(stream, 12 - start_step)
        seen = [(labels, images[:, 0, 0, 0] > 0) for images, labels in batches]
        epochs = [seen[k : k + 4] for k in range(0, len(seen), 4)]
        return [np.concatenate([f for _, f in e])[np.argsort(np.concatenate([p for p, _ in e]))] for e in epochs]

    first, second, third = flips(0)
    assert 25 <= first.sum() <= 75  # five standard deviations about a half
    np.testing.assert_array_equal(second, ~first)
    np.testing.assert_array_equal(third, first)
    np.testing.assert_array_equal(flips(4), [second, third])


def test_train_batches_are_full_normalised_and_endless(digits):
    for images, labels in take(digits.train(), 2 * digits.steps_per_epoch + 1):
        assert images.shape == (100, 8, 8, 1) and images.dtype == np.float32
        assert labels.shape == (100,) and labels.dtype == np.int32


def test_train_stream_has_static_shapes(digits):
    """A model with a fixed batch, and XLA, need them."""
    images, labels = digits.train().element_spec
    assert images.shape == (100, 8, 8, 1) and labels.shape == (100,)


def test_labels_follow_their_images():
    stream = streams.train_stream(
        numbered(50),
        VIEW,
        augmentation=augment.AUGMENTATIONS["none"],
        batch_size=10,
        steps_per_epoch=5,
        seed=3,
    )
    for images, labels in take(stream, 7):
        np.testing.assert_array_equal(images.ravel(), labels)


def test_evaluation_gives_every_example_once_in_order_with_a_partial_last_batch():
    stream = streams.evaluation_stream(numbered(25).take(np.arange(2, 25)), VIEW, 10)
    batches = list(stream.as_numpy_iterator())
    assert stream.cardinality() == 3
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), np.arange(2, 25))
    np.testing.assert_array_equal(np.concatenate([images.ravel() for images, _ in batches]), np.arange(2, 25))


def test_evaluation_is_not_augmented(digits):
    stored = tf.gather(digits.test_examples.images, digits.test_examples.rows)
    seen = np.concatenate([images for images, _ in digits.test().as_numpy_iterator()])
    # The batch decides which kernels run, and whether a product and a sum are fused: 1 ulp around 3.
    np.testing.assert_allclose(seen, augment.normalize(stored, digits.spec.mean, digits.spec.std), atol=5e-7)


def test_validation_does_not_overlap_train(digits):
    train, validation = set(digits.train_examples.rows), set(digits.validation_examples.rows)
    assert len(validation) == digits.spec.num_validation == 200
    assert len(train) == digits.spec.num_train
    assert not train & validation and not (train | validation) & set(digits.test_examples.rows)


def test_validation_is_drawn_by_the_seed():
    first, again, other = (load_splits("digits", validation=0.1, seed=s).validation_examples for s in (0, 0, 1))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert set(first.rows) != set(other.rows)


def test_test_examples_do_not_depend_on_the_seed():
    first, other = (load_splits("digits", seed=s).test_examples.rows for s in (0, 1))
    np.testing.assert_array_equal(first, other)


def test_validation_share_is_rounded_to_a_count():
    assert load_splits("digits", validation=0.25).spec.num_validation == round(0.25 * 1438)


def test_no_validation_by_default():
    assert load_splits("digits").validation() is None


@pytest.mark.parametrize("value", [1.0, 1.5, -1, -0.1, 1438, 1e-9, True, float("nan"), "half", None])
def test_validation_out_of_range_is_an_error(value):
    with pytest.raises(DataError, match=r"validation must be a share .* Received validation="):
        load_splits("digits", validation=value)


def test_batch_larger_than_train_is_an_error_that_names_both():
    splits = load_splits("digits", batch_size=64, max_train=50)
    with pytest.raises(DataError, match=r"batch_size must be at most .*, 50\. Received batch_size=64: give a smaller"):
        _ = splits.steps_per_epoch
    assert sum(len(labels) for _, labels in splits.test()) == 359  # evaluation needs no full batch


def test_negative_start_step_is_an_error(digits):
    with pytest.raises(DataError, match=r"start_step must be 0 or more\. Received start_step=-1"):
        digits.train(-1)


def test_train_in_order_takes_a_part_at_random():
    splits = load_splits("digits")
    everything = np.concatenate([np.asarray(labels) for _, labels in splits.train_in_order()])
    images, labels = (np.concatenate(parts) for parts in zip(*splits.train_in_order(50), strict=True))
    again = np.concatenate([np.asarray(labels) for _, labels in splits.train_in_order(50)])
    assert len(everything) == splits.spec.num_train and len(images) == 50
    assert len(set(labels.tolist())) > 6 and np.array_equal(labels, again)


def test_max_train_and_max_test_keep_classes_mixed():
    splits = load_splits("digits", max_train=100, max_test=60, batch_size=10)
    assert (splits.spec.num_train, splits.spec.num_test) == (100, 60)
    assert len(set(splits.train_examples.labels)) == 10


@pytest.mark.parametrize(
    ("argument", "value"),
    [("batch_size", 0), ("batch_size", 2.0), ("eval_batch_size", -1), ("max_train", 0), ("seed", -1),
     ("seed", 2**63), ("augmentation", "mixpu"), ("on_broken", "ignore"), ("channels", 4), ("image_size", 0),
     ("image_size", (8, 8, 1)), ("image_size", 8.5), ("image_size", "large")],
)  # fmt: skip
def test_bad_argument_is_named_with_its_value(argument, value):
    with pytest.raises(DataError, match=f"{argument} must be .*Received {argument}="):
        load_splits("digits", **{argument: value})


def test_reflection_wider_than_the_image_is_an_error():
    with pytest.raises(DataError, match=r"augmentation='cifar' reflects 4 pixels .* of 4x4 have"):
        load_splits("digits", augmentation="cifar", image_size=4)


@pytest.mark.parametrize("name", NAMES)
def test_every_augmentation_runs_on_stored_images(name):
    splits = load_splits("digits", augmentation=name, batch_size=16)
    ((images, _),) = take(splits.train(), 1)
    assert images.shape == (16, 8, 8, 1) and np.isfinite(images).all()


def test_images_too_large_to_store_are_scaled_by_the_batch(monkeypatch):
    stored = load_splits("digits", image_size=(12, 10), augmentation="none", max_test=30)
    monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 1000)
    scaled = load_splits("digits", image_size=(12, 10), augmentation="none", max_test=30)
    assert stored.test_examples.images.shape[1:3] == (12, 10)
    assert scaled.test_examples.images.shape[1:3] == (8, 8)
    for left, right in ((stored.test(), scaled.test()), (stored.train().take(2), scaled.train().take(2))):
        # one grey level where a resized value lies at the rounding's edge
        for (images, labels), (other, other_labels) in zip(left, right, strict=True):
            np.testing.assert_allclose(images, other, atol=1.01 / stored.spec.std[0])
            np.testing.assert_array_equal(labels, other_labels)


def test_stream_works_under_a_distribution_strategy(digits):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    iterator = iter(strategy.experimental_distribute_dataset(digits.train()))
    assert_same_batches([next(iterator)], [next(iter(digits.train()))])


def test_end_of_a_stream_does_not_wait(digits):
    """tf.data's autotuner made closing an iterator take seconds; 2 s leave room for a busy machine."""
    iterator = iter(digits.train())
    next(iterator)
    started = time.perf_counter()
    del iterator
    assert time.perf_counter() - started < 2


def test_spec_survives_json(digits):
    restored = DataSpec.from_dict(json.loads(json.dumps(digits.spec.to_dict())))
    assert restored == digits.spec
    assert hash(restored) == hash(digits.spec)


def test_spec_with_an_unknown_field_is_an_error(digits):
    with pytest.raises(DataError, match=r"Unknown or missing: \['colour', 'name'\]"):
        DataSpec.from_dict({**{k: v for k, v in digits.spec.to_dict().items() if k != "name"}, "colour": 1})


def test_public_names_are_these():
    loaders = ["from_arrays", "from_dataset", "has_own_validation", "load_splits"]
    assert sorted(pipelines.__all__) == ["ArraySplits", "DataError", "DataSpec", "Splits", *loaders]
