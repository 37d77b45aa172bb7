import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines import load_splits
from pipelines.examples import Examples, Records
from pipelines.service import check_address, from_service, ordered, start_service
from tests.marks import slow_but


@pytest.fixture(scope="module")
def address():
    service = start_service(workers=2)
    yield service.address
    del service


@pytest.mark.slow
@pytest.mark.parametrize(("start_step", "shard"), [(0, (0, 1)), (9, (1, 2))])
def test_service_gives_the_batches_of_the_local_stream_from_any_step(address, start_step, shard):
    splits = load_splits("digits", batch_size=128, max_train=512)  # 4 steps an epoch: nine reach into the third
    local = splits.train(start_step, shard).take(7)
    remote = splits.train(start_step, shard, data_service=address).take(7)
    for (images, labels), (other_images, other_labels) in zip(local, remote, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.slow
@pytest.mark.parametrize("kind", slow_but(["files", "bytes", "records"], "bytes"))
def test_service_gives_the_batches_of_encoded_images_too(kind, address, tmp_path):
    """Of records, each image is read through a stream of positions and one of what is drawn for it."""
    encoded = [tf.io.encode_png(np.full((9, 8, 3), 10 * n, np.uint8)).numpy() for n in range(12)]
    labels = np.arange(12)
    if kind == "bytes":
        examples = Examples.in_bytes(encoded, labels)
    elif kind == "files":
        for n, data in enumerate(encoded):
            (tmp_path / f"{n}.png").write_bytes(data)
        examples = Examples.in_files([str(tmp_path / f"{n}.png") for n in range(12)], labels)
    else:
        path = str(tmp_path / "all")
        with tf.io.TFRecordWriter(path) as writer:
            for data in encoded:
                writer.write(b"before" + data + b"after")
        sizes = np.array([len(data) for data in encoded])
        lengths = sizes + len("before" + "after")
        starts = np.cumsum(lengths + 16) - lengths - 16
        where = (np.zeros(12, np.int64), starts, lengths, np.full(12, len("before")), sizes)
        examples = Examples.in_records(Records(np.array([path.encode()], object), *where), labels)
    splits = dataclasses.replace(load_splits("digits", batch_size=4), train_examples=examples)
    spec = dataclasses.replace(splits.spec, image_shape=(8, 8, 3), mean=(0.0,) * 3, std=(1.0,) * 3, num_train=12)
    splits = dataclasses.replace(splits, spec=spec)
    for (images, labels), (other_images, other_labels) in zip(
        splits.train(2, (1, 2)).take(9), splits.train(2, (1, 2), data_service=address).take(9), strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_batches_are_put_back_into_their_order():
    batches = [(step, f"images {step}", step) for step in (6, 4, 7, 5)]
    assert [label for _, label in ordered(batches, 4)] == [4, 5, 6, 7]


def test_lost_batch_is_named():
    with pytest.raises(
        RuntimeError, match="batch 1 never came, though 3 later ones did: a worker of the service has died"
    ):
        list(ordered([(step, step) for step in (0, 2, 3, 4, 5)], 0, most_waiting=3))


@pytest.mark.parametrize("wrong", ["localhost:5050", "grpc://host", "grpc://host:99999", "http://host:1"])
def test_address_of_another_form_is_refused(wrong):
    with pytest.raises(ValueError, match=r"data_service must be grpc://host:port\. Received"):
        check_address(wrong)


def test_service_that_is_not_there_is_refused(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"grpc://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ValueError, match=r"cannot be reached \(.*\)\. Start it there"):
            from_service(None, nobody, 0)
