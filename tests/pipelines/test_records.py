"""Damage of TFRecord files: what is found when, and what the messages name."""

import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf

from dirac_keras.cli.speech.errors import explain
from pipelines import DataError, load_splits
from pipelines.readers import imagenet, records
from pipelines.tensorflow_engine import read_images
from tests.pipelines.test_datasets import write_tfds
from tests.pipelines.test_imagenet import SIDE, jpeg, write_imagenet


def starts_of(path):
    """The bytes at which the records of a file begin, and its end."""
    data, at = path.read_bytes(), 0
    starts = [0]
    while at < len(data):
        at += 16 + int.from_bytes(data[at : at + 8], "little")
        starts.append(at)
    return starts


def flip(path, byte, bit=0):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def train_file(folder, name="imagenet2012"):
    (path,) = folder.rglob(f"{name}-train.tfrecord*")
    return path


def load(folder, **options):
    return load_splits("imagenet2012", data_dir=folder, **{"batch_size": 2, "image_size": SIDE, **options})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_imagenet(tmp_path_factory.mktemp("written"), [jpeg(k) for k in range(4)], [jpeg(4)])


@pytest.fixture
def folder(written, tmp_path):
    shutil.copytree(written, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def label_byte(folder):
    """Where the label of record 2 of 4 stands: a flipped bit makes it another label, and nothing else is wrong."""
    path = train_file(folder)
    start, end = starts_of(path)[2:4]
    place = path.read_bytes().index(b"label", start, end) + len(b"label")
    # What follows in the file: value (2 bytes of key and length), int64_list (2), value (2), the number.
    number = path.read_bytes()[place : place + 12].rindex(b"\x02") + place
    return number


@pytest.mark.slow
def test_flipped_label_stops_the_command_with_file_and_record(folder, label_byte):
    flip(train_file(folder), label_byte, 0)
    assert records.index_records([train_file(folder)]).labels.tolist() == [0, 1, 3, 3]  # what would be trained on
    with pytest.raises(
        DataError, match=r"1 of 4 image files cannot .*train_2\.JPEG \(in a record whose checksum is wrong\)"
    ):
        load(folder)


@pytest.mark.slow
def test_flipped_label_is_left_out_on_request(folder, label_byte, caplog):
    flip(train_file(folder), label_byte, 0)
    with caplog.at_level(logging.WARNING, "pipelines"):
        splits = load(folder, on_broken="skip")
    assert splits.train_examples.labels.tolist() == [0, 1, 3]
    assert "Skipped 1 of 4" in caplog.text and "checksum" in caplog.text


@pytest.mark.slow
def test_label_beyond_the_classes_is_the_damage_that_it_is(folder, label_byte):
    """Bit 7 makes a number of two bytes of it."""
    flip(train_file(folder), label_byte, 7)
    with pytest.raises(DataError, match=r"1 of 4 .*checksum is wrong"):
        load(folder)


@pytest.mark.slow
def test_record_read_from_its_file_is_checked_when_it_is_read(folder, label_byte, monkeypatch):
    """A split that is too large for memory is not read at the start: then the run stops, and says where."""
    monkeypatch.setattr(imagenet, "ENCODED_LIMIT_BYTES", 0)
    path = train_file(folder)
    start = starts_of(path)[2]
    flip(path, label_byte, 0)
    splits = load(folder)
    assert splits.train_examples.records is not None
    message = rf"data_record: {path}: the record at byte {start} is damaged: its checksum is wrong"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        list(splits.train().take(2))
    line = explain(caught.value)
    assert line.startswith(f"data_record: {path}: the record at byte {start} ") and line.endswith('`on_broken="skip"`.')
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(splits.train_in_order())
    skipped = load(folder, on_broken="skip")
    assert skipped.train_examples.labels.tolist() == [0, 1, 3]
    assert sorted(np.concatenate([labels for _, labels in skipped.train_in_order()])) == [0, 1, 3]


@pytest.mark.slow
def test_no_flipped_bit_gives_another_label_or_image(written, tmp_path):
    """One bit in each of 120 places of the second record: the file is refused, or the record is found to be damaged."""
    source = train_file(written)
    start, end = starts_of(source)[1:3]
    (images, labels), data = contents(records.index_records([source])), source.read_bytes()
    places = sorted({*range(start, start + 30), *range(start, end, (end - start) // 30), *range(end - 60, end)})
    readable = []
    for byte in places:
        path = tmp_path / str(byte)
        path.write_bytes(data)
        flip(path, byte, byte % 8)
        try:
            records.index_file(path)
            readable.append(path)
        except records.RecordError as error:
            assert byte - start < 8
            assert str(error) == f"{path}: the record at byte {start:,} cannot be read: its checksum is wrong"
    assert len(readable) == len(places) - 8  # without its length, what follows cannot be found
    found_images, found_labels = contents(records.index_records(readable))
    for k in range(len(readable)):
        assert found_images[4 * k : 4 * k + 4] == [images[0], None, *images[2:]]
        assert np.delete(found_labels[4 * k : 4 * k + 4], 1).tolist() == np.delete(labels, 1).tolist()


def contents(index):
    return list(read_images(index.records, np.arange(len(index.labels)))), index.labels


@pytest.mark.slow
def test_record_that_cannot_be_parsed_is_damaged_or_of_another_kind(folder):
    """The first byte says which field follows: with a wrong checksum it is damage, else another kind of file."""
    path = train_file(folder)
    flip(path, starts_of(path)[2] + 12, 6)
    index = records.index_records([path])
    assert index.labels.tolist() == [0, 1, records.NO_LABEL, 3]
    with pytest.raises(DataError, match=r"record 2 \(in a record whose checksum is wrong\)"):
        load(folder)
    assert load(folder, on_broken="skip").train_examples.labels.tolist() == [0, 1, 3]


def test_damaged_length_names_its_own_record_not_the_next(folder):
    path = train_file(folder)
    start = starts_of(path)[1]
    flip(path, start, 0)
    with pytest.raises(DataError, match=rf"{path}: the record at byte {start:,} cannot be read: its checksum is wrong"):
        load(folder, on_broken="skip")


def test_missing_file_of_records_is_named(folder):
    path = train_file(folder)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path} is absent"):
        load(folder)


def test_data_set_in_memory_names_file_and_record(tmp_path):
    version = write_tfds(tmp_path, {"train": [3, 1, 4, 1, 5], "test": [9, 2]})
    path = train_file(version, "mnist")
    flip(path, starts_of(path)[2] + 20)
    with pytest.raises(DataError, match=rf"record 2 of {path} cannot be read: its checksum is wrong"):
        load_splits("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("labels", [[1, 2], [1, 2, 3, 4]])
def test_file_with_another_number_of_records_is_named(tmp_path, labels):
    """The file of another data set of three records in its place, one shorter or longer."""
    version = write_tfds(tmp_path / "a", {"train": [1, 2, 3], "test": [0]})
    other = write_tfds(tmp_path / "b", {"train": labels, "test": [0]})
    train_file(version, "mnist").write_bytes(train_file(other, "mnist").read_bytes())
    with pytest.raises(DataError, match=rf"train\.tfrecord.* holds {len(labels)} of 3 examples"):
        load_splits("mnist", data_dir=tmp_path / "a")


def test_absent_file_of_records_is_named(tmp_path):
    version = write_tfds(tmp_path, {"train": [1, 2, 3], "test": [0]})
    path = train_file(version, "mnist")
    path.unlink()
    with pytest.raises(DataError, match=rf"{path} is absent"):
        load_splits("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('"3"', '"900000000000"', r"train\.tfrecord.* cannot hold 900,000,000,000 examples"),
     ("{SPLIT}", "{SPLOT}", "is damaged: .*SPLOT"), ("{SPLIT}", "}SPLIT}", "is damaged")],
)  # fmt: skip
def test_damaged_description_is_reported_as_damage(tmp_path, old, new, message):
    """An amount that no file can hold must not be allocated; names of files come from a template."""
    version = write_tfds(tmp_path, {"train": [1, 2, 3], "test": [0]})
    path = version / "dataset_info.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        load_splits("mnist", data_dir=tmp_path)
