"""USPS and COIL-20: what is read from the published files, and what is said where they are absent or damaged."""

import bz2
import functools
import http.server
import io
import pathlib
import threading
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from pipelines import DataError, load_splits, scaling
from pipelines.examples import Examples
from pipelines.readers import coil20, manual, storage, usps
from pipelines.readers.coil20 import read_coil20, read_coil_archive
from pipelines.readers.manual import MANUAL_FOLDER
from pipelines.readers.statistics import measure
from pipelines.readers.usps import read_libsvm_images, read_usps

MODULES = {"usps": usps, "coil20": coil20}


def rows_of(examples):
    return tf.gather(examples.images, examples.rows).numpy()


def libsvm(rows):
    """`(label, values)` pairs as compressed lines."""
    lines = [
        " ".join([str(label), *(f"{k}:{value}" for k, value in enumerate(values, start=1))]) for label, values in rows
    ]
    return bz2.compress(("\n".join(lines) + "\n").encode())


def write_usps(folder, rows=None, test_rows=None):
    """Three training lines and two test lines, constant images."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows or [(1, [-1] * 256), (10, [1] * 256), (6, [0.5] * 256)]
    (folder / "usps.bz2").write_bytes(libsvm(rows))
    (folder / "usps.t.bz2").write_bytes(libsvm(test_rows or [(2, [0] * 256), (3, [-0.5] * 256)]))
    return folder


def png(value, side=8):
    return tf.io.encode_png(np.full((side, side, 1), value, np.uint8)).numpy()


def write_coil(folder, change=None):
    """2 objects in 5 poses, each image one grey value, 10 * object + pose; `change` edits the members first."""
    folder.mkdir(parents=True, exist_ok=True)
    members = {f"coil-20-proc/obj{i}__{k}.png": png(10 * i + k) for i in (1, 2) for k in range(5)}
    if change:
        change(members)
    with zipfile.ZipFile(folder / "coil-20-proc.zip", "w") as archive:
        for name in sorted(members, reverse=True):  # an order that is not the readers'
            archive.writestr(name, members[name])
    return folder


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Both datasets with a few images; returns the folder of their files."""
    monkeypatch.setattr(usps, "COUNTS", {"usps.bz2": 3, "usps.t.bz2": 2})
    monkeypatch.setattr(coil20, "OBJECTS", 2)
    monkeypatch.setattr(coil20, "POSES", 5)
    monkeypatch.setattr(coil20, "SIDE", 8)
    monkeypatch.setattr(coil20, "DEFAULT_SIZE", (4, 4))
    return tmp_path / MANUAL_FOLDER


# USPS


def test_usps_labels_and_values(small, tmp_path, no_network):
    """Label 1 is the digit 0. -1, -0.5, 0, 0.5, 1 become 0, 63.75, 127.5, 191.25, 255, halves rounded to even."""
    write_usps(small)
    raw = read_usps(tmp_path)
    assert raw.train.labels.tolist() == [0, 9, 5] and raw.test.labels.tolist() == [1, 2]
    assert rows_of(raw.train)[:, 3, 5, 0].tolist() == [0, 255, 191]
    assert rows_of(raw.test)[:, 3, 5, 0].tolist() == [128, 64]
    assert raw.image_shape == (16, 16, 1) and raw.class_names == tuple("0123456789") and raw.augmentation == "none"


def test_usps_pixels_run_along_the_rows(small, tmp_path):
    """Pixel 19 of 1..256 is the third of the second row."""
    values = [-1] * 256
    values[18] = 1
    raw = read_usps(write_usps(small, rows=[(1, values)] * 3) and tmp_path)
    assert np.argwhere(rows_of(raw.train)[0, ..., 0]).tolist() == [[1, 2]]


USPS_DAMAGE = {
    "empty": (lambda data: b"", "it holds 0 lines and 0 numbers, not 3 lines of 513"),
    "text": (lambda data: b"<html>sign in</html>", "Invalid data stream"),
    "cut": (lambda data: data[:-20], "ended before the end-of-stream"),
    "a line less": (lambda data: lines_of(data, slice(0, 2)), "it holds 2 lines and 1,026 numbers, not 3 lines of 513"),
    "words": (lambda data: changed(data, b"256:0.5", b"256:grey"), "is damaged"),
    "a word at the end": (lambda data: changed(data, b"256:0.5", b"256:0.5 grey"), "is damaged"),
    "two lines in one": (lambda data: changed(data, b"\n10 1:", b" 10 1:"), "2 lines and 1,539 numbers, not 3 lines"),
    "bytes": (lambda data: bz2.compress(bytes(range(256))), "is damaged"),
    "a value less": (lambda data: changed(data, b" 256:0.5", b""), "3 lines and 1,537 numbers"),
    "other order": (lambda data: changed(data, b" 9:", b" 8:"), "pixels are not numbered 1 to 256"),
    "range": (lambda data: changed(data, b":0.5", b":1.5"), r"values lie in -1\.\.1\.5, not in -1\.\.1"),
    "nan": (lambda data: changed(data, b":0.5", b":nan"), r"not in -1\.\.1"),
    "label 0": (lambda data: changed(data, b"6 1:", b"0 1:"), "labels from -1 to 9"),
    "label 11": (lambda data: changed(data, b"6 1:", b"11 1:"), "labels from 0 to 10"),
    "half a label": (lambda data: changed(data, b"6 1:", b"6.5 1:"), "a label is not a whole number"),
}


def changed(data, old, new):
    text = bz2.decompress(data)
    assert old in text
    return bz2.compress(text.replace(old, new))


def lines_of(data, part):
    return bz2.compress(b"".join(bz2.decompress(data).splitlines(keepends=True)[part]))


@pytest.mark.parametrize("case", USPS_DAMAGE)
def test_damaged_usps_file_is_named_with_what_was_found(small, tmp_path, case):
    spoil, message = USPS_DAMAGE[case]
    path = write_usps(small) / "usps.bz2"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_usps(tmp_path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert "again" in str(caught.value)


def test_the_last_line_may_lack_its_end(tmp_path):
    path = tmp_path / "a.bz2"
    path.write_bytes(bz2.compress(b"1 1:-1 2:0 3:0 4:1\n2 1:0 2:0 3:0 4:0"))
    images, labels = read_libsvm_images(path, 2, 2)
    assert images[0, ..., 0].tolist() == [[0, 128], [128, 255]] and labels.tolist() == [0, 1]


# COIL-20


def test_coil_images_are_sorted_by_object_and_pose(small):
    images, labels = read_coil_archive(write_coil(small) / "coil-20-proc.zip")
    assert images[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]
    assert labels.tolist() == [0] * 5 + [1] * 5


def test_coil_split_is_seven_to_three_and_depends_on_the_seed_alone(small, tmp_path):
    write_coil(small)
    first, again, other = (read_coil20(tmp_path, seed=seed) for seed in (0, 0, 1))
    parts = [rows_of(part)[:, 0, 0, 0].tolist() for part in (first.train, first.test)]
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(parts[0] + parts[1]) == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]
    assert first.train.rows.tolist() == again.train.rows.tolist() != other.train.rows.tolist()
    for part in (first.train, first.test):  # each image keeps its label
        assert (rows_of(part)[:, 0, 0, 0] // 10 - 1).tolist() == part.labels.tolist()


def test_split_of_coil_follows_the_seed_of_the_run(small, tmp_path):
    write_coil(small)
    first, again, other = (load_splits("coil20", 2, data_dir=tmp_path, seed=seed).test_examples for seed in (0, 0, 1))
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()


@pytest.mark.parametrize(("size", "shape"), [(None, (4, 4, 1)), ((8, 8), (8, 8, 1)), ((2, 6), (2, 6, 1))])
def test_coil_images_are_scaled_and_keep_a_constant_grey(small, tmp_path, size, shape):
    raw = read_coil20(write_coil(small) and tmp_path, size=size)
    assert raw.image_shape == shape == raw.train.images.shape[1:]
    images = raw.train.images
    assert (images == images[:, :1, :1]).all()


def test_scaling_down_averages():
    """One white column of four becomes a quarter of white, 63.75; without antialiasing it would be passed over."""
    stripes = np.tile(np.uint8([255, 0, 0, 0]), (1, 128, 32))[..., None]
    small = scaling.scale(Examples.in_memory(stripes, np.zeros(1)), (32, 32)).images
    assert np.ptp(small[:, 4:-4, 4:-4].astype(int)) <= 1 and abs(int(small[0, 16, 16, 0]) - 64) <= 1


def test_images_too_large_for_memory_are_scaled_by_the_batch(small, tmp_path, monkeypatch):
    write_usps(small)
    kept = load_splits("usps", 2, data_dir=tmp_path, image_size=24)
    monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    lazy = load_splits("usps", 2, data_dir=tmp_path, image_size=24)
    assert kept.train_examples.images.shape[1] == 24 and lazy.train_examples.images.shape[1] == 16
    for (images, _), (other, _) in zip(kept.test(), lazy.test(), strict=True):
        assert images.shape[1:] == (24, 24, 1)
        np.testing.assert_array_equal(images, other)


def remove(name):
    return lambda members: members.pop(f"coil-20-proc/{name}")


def put(name, data):
    return lambda members: members.update({f"coil-20-proc/{name}": data})


COIL_DAMAGE = {
    "an image less": (
        remove("obj2__3.png"),
        r"holds 9 images named obj<1-20>__<0-71>.png, not 10; obj2__3.png is absent",
    ),
    "an image more": (put("obj3__0.png", png(0)), r"holds 11 images"),
    "an image twice": (put("obj02__3.png", png(0)), r"holds 11 images"),
    "other size": (put("obj1__2.png", png(0, side=9)), r"obj1__2.png has 9x9 pixels, not 8x8"),
    "no picture": (put("obj1__2.png", b"text"), r"obj1__2.png cannot be read \("),
    "cut picture": (put("obj1__2.png", png(0)[:40]), r"obj1__2.png cannot be read \("),
}


@pytest.mark.parametrize("case", COIL_DAMAGE)
def test_unfit_coil_archive_is_named_with_what_was_found(small, tmp_path, case):
    change, message = COIL_DAMAGE[case]
    write_coil(small, change)
    with pytest.raises(DataError, match=message) as caught:
        read_coil20(tmp_path)
    assert str(caught.value).startswith(f"{small / 'coil-20-proc.zip'} is damaged: ") and "\n" not in str(caught.value)


def flip_a_byte(data):
    """In the pixels of the first member, not in its name: only the checksum can tell."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.infolist()[0]
    place = first.header_offset + 30 + len(first.filename) + first.file_size // 2
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", r"coil-20-proc\.zip cannot be read \(File is not a zip file\)"),
        (lambda data: data[: len(data) // 2], r"coil-20-proc\.zip cannot be read \(File is not a zip file\)"),
        (flip_a_byte, r"obj2__4\.png cannot be read \(Bad CRC-32"),
    ],
    ids=["empty", "cut", "a byte changed"],
)
def test_damaged_coil_archive_is_named(small, tmp_path, spoil, message):
    path = write_coil(small) / "coil-20-proc.zip"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_coil20(tmp_path)


def test_folders_and_other_files_in_the_archive_are_passed_over(small, tmp_path):
    write_coil(small, lambda members: members.update({"coil-20-proc/": b"", "__MACOSX/._obj1__0.png": b"x"}))
    assert len(read_coil20(tmp_path).train) == 7


# absent files, and how they come


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("usps", "downloads/manual/usps.bz2 and downloads/manual/usps.t.bz2"),
     ("coil20", "downloads/manual/coil-20-proc.zip")],
)  # fmt: skip
def test_absent_data_is_one_line_with_the_command(tmp_path, name, wanted, no_network):
    with pytest.raises(DataError) as caught:
        load_splits(name, data_dir=tmp_path)
    assert str(caught.value) == (
        f"{name} was not found in {tmp_path}: looked for {wanted}. Fetch it with `download=True`, or give the folder "
        "that has it as `data_dir`."
    )
    assert list(tmp_path.iterdir()) == []


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class CuttingHandler(Handler):
    """Announces a byte more than it sends."""

    def send_header(self, keyword, value):
        super().send_header(keyword, str(int(value) + 1) if keyword == "Content-Length" else value)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Function (name, handler) -> makes a local server the source of a dataset; serves `tmp_path / "web"`."""
    servers = []

    def start(name, handler=Handler):
        handler = functools.partial(handler, directory=str(tmp_path / "web"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        module = MODULES[name]
        sources = tuple(f"http://127.0.0.1:{server.server_port}/{manual.file_name(item)}" for item in module.SOURCES)
        monkeypatch.setattr(module, "SOURCES", sources)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def files_below(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_download_puts_the_files_where_they_are_read(small, tmp_path, serve):
    write_usps(tmp_path / "web")
    serve("usps")
    splits = load_splits("usps", 2, data_dir=tmp_path / "data", download=True)
    assert splits.spec.num_train == 3
    folder = tmp_path / "data" / MANUAL_FOLDER
    assert sorted(path.name for path in folder.iterdir()) == ["usps.bz2", "usps.t.bz2"]
    assert (folder / "usps.bz2").read_bytes() == (tmp_path / "web" / "usps.bz2").read_bytes()


def test_only_the_missing_file_is_fetched(small, tmp_path, serve):
    write_usps(tmp_path / "web")
    (tmp_path / "web" / "usps.bz2").unlink()  # asking for it would fail
    write_usps(small)
    (small / "usps.t.bz2").unlink()
    serve("usps")
    assert len(read_usps(tmp_path, download=True).test) == 2


def test_nothing_is_fetched_when_all_is_there(small, tmp_path, no_network):
    write_coil(small)
    assert len(read_coil20(tmp_path, download=True).train) == 7


def test_cut_download_leaves_nothing(small, tmp_path, serve):
    web = write_coil(tmp_path / "web")
    serve("coil20", CuttingHandler)
    size = (web / "coil-20-proc.zip").stat().st_size
    with pytest.raises(DataError, match=rf"coil20 could not be fetched from .*/coil-20-proc.zip \({size:,} of "):
        read_coil20(tmp_path / "data", download=True)
    assert list((tmp_path / "data" / MANUAL_FOLDER).iterdir()) == []


def test_interrupted_download_leaves_nothing(small, tmp_path, monkeypatch):
    def interrupt(source, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(manual, "check_reachable", lambda name, source: None)
    monkeypatch.setattr(manual, "_download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_coil20(tmp_path, download=True)
    assert list(small.iterdir()) == []


def test_absent_file_on_the_server_is_reported_before_anything_is_written(tmp_path, serve):
    (tmp_path / "web").mkdir()
    serve("usps")
    with pytest.raises(DataError, match=r"usps cannot be downloaded: http://127\.0\.0\.1:\d+/usps\.bz2 did not answer"):
        read_usps(tmp_path / "data", download=True)
    assert not (tmp_path / "data").exists()


def test_download_without_network_fails_at_once(monkeypatch, tmp_path):
    """Port 9 of this machine refuses."""
    monkeypatch.setattr(coil20, "SOURCES", ("http://127.0.0.1:9/coil-20-proc.zip",))
    with pytest.raises(DataError, match=r"coil20 cannot be downloaded: .* did not answer"):
        read_coil20(tmp_path / "data", download=True)
    assert not (tmp_path / "data").exists()


def test_folder_that_cannot_be_written_is_reported(tmp_path, serve, small):
    write_coil(tmp_path / "web")
    serve("coil20")
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"coil20 could not be fetched from .* \(.*data"):
        read_coil20(tmp_path / "data", download=True)


# the published files


def real(name):
    """Skips where the files are absent."""
    folder = storage.data_folder(None) / MANUAL_FOLDER
    if manual.missing(MODULES[name].SOURCES, folder):
        pytest.skip(f"{name} is not in {folder}; shared/data/prepare.py writes it there")
    return pathlib.Path(folder)


@pytest.mark.data
def test_real_usps_has_its_known_counts_and_statistics():
    """Counts per digit as in Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 'ZIP code'."""
    real("usps")
    raw = read_usps()
    assert np.bincount(raw.train.labels).tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert np.bincount(raw.test.labels).tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    pixels = rows_of(raw.train).astype("float64")
    np.testing.assert_allclose((pixels.mean(), pixels.std()), np.ravel([raw.mean, raw.std]), atol=0.005)
    assert (raw.train.images.min(), raw.train.images.max()) == (0, 255)


@pytest.mark.slow
@pytest.mark.data
def test_real_usps_digits_look_as_their_names_say():
    """A 0 has a hole in its middle, which a 1 fills; a 4 turned by 180 degrees would not: 7 is heavy at the top."""
    real("usps")
    raw = read_usps()
    pixels, labels = rows_of(raw.train)[..., 0].astype(float), raw.train.labels
    mean = [pixels[labels == digit].mean(0) for digit in range(10)]
    assert mean[0][7:9, 7:9].mean() < 40 and mean[1][7:9, 7:9].mean() > 200
    assert mean[7][:4].sum() > 2 * mean[7][-4:].sum()
    assert mean[6][:, :8].sum() > mean[6][:, 8:].sum()  # the stroke of a 6 is on its left


@pytest.mark.data
def test_real_coil20_is_read_at_the_papers_size():
    real("coil20")
    splits = load_splits("coil20")
    assert (splits.spec.num_train, splits.spec.num_test, splits.spec.image_shape) == (1008, 432, (32, 32, 1))
    assert len(set(splits.spec.class_names)) == 20
    labels = np.concatenate([splits.train_examples.labels, splits.test_examples.labels])
    assert np.bincount(labels).tolist() == [72] * 20
    mean, std = measure(splits.train_examples, (32, 32, 1), None)
    assert (splits.spec.mean, splits.spec.std) == (mean, std)


@pytest.mark.data
def test_real_coil20_at_its_own_size_is_what_the_archive_holds():
    image = pytest.importorskip("PIL.Image")
    path = real("coil20") / "coil-20-proc.zip"
    raw = read_coil20(size=(128, 128))
    with zipfile.ZipFile(path) as archive:
        for place, name in ((0, "obj1__0"), (72 * 9 + 13, "obj10__13"), (1439, "obj20__71")):
            expected = np.asarray(image.open(io.BytesIO(archive.read(f"coil-20-proc/{name}.png"))))
            np.testing.assert_array_equal(raw.train.images[place, ..., 0], expected)
