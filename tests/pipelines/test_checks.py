"""What is said of a data set: its hash by hand, pairs that are alike, what is broken."""

import json

import numpy as np
import pytest
from PIL import Image

from pipelines import from_arrays, load_splits
from pipelines.checks.alike import find_alike
from pipelines.checks.hashing import close_pairs, hashes, scaled
from pipelines.checks.report import check

MARKUP = "<img src=x onerror=alert(1)>"


def photos(count, side=32, seed=0):
    """Smooth random pictures, no two of which are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    sides = (side, side)
    return np.stack([np.asarray(Image.fromarray(image).resize(sides, Image.Resampling.BICUBIC)) for image in coarse])


def test_a_scaled_pixel_is_the_mean_of_its_area():
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    # Of a side of 3 in two: a whole pixel and half of the middle one, over 1.5.
    rows = [[0, 1], [1, 2]]
    shares = np.array([2 / 3, 1 / 3])
    expected = [
        [sum(shares[::s1][a] * shares[::s2][b] * image[0, r1[a], r2[b], 0] for a in (0, 1) for b in (0, 1))
         for r2, s2 in zip(rows, (1, -1), strict=True)]
        for r1, s1 in zip(rows, (1, -1), strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(scaled(image, (2, 2))[0, ..., 0], expected, rtol=1e-6)


def test_the_hash_of_a_ramp_has_the_bits_of_its_direction():
    ramp = np.tile(np.arange(0, 250, 10, dtype=np.uint8)[:, None], (1, 25))[None, ..., None]
    words = hashes(np.concatenate([ramp, ramp.transpose(0, 2, 1, 3)]))
    across, down = [bin(int(word)).count("1") for word in words[0]]
    assert (across, down) == (0, 64)
    assert [bin(int(word)).count("1") for word in words[1]] == [64, 0]


def test_close_pairs_are_those_of_a_loop_and_the_cap_keeps_the_closest():
    words = np.random.default_rng(1).integers(0, 2**63, (150, 2), dtype=np.int64).astype(np.uint64)
    words[7], words[149] = words[3], words[3]
    words[149, 1] ^= np.uint64(0b101)

    def bits(i, j):
        return sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(words[i], words[j], strict=True))

    expected = {(i, j, bits(i, j)) for i in range(150) for j in range(i + 1, 150) if bits(i, j) <= 48}
    pairs, searched = close_pairs(words, 48, 10**6)
    assert {tuple(map(int, pair)) for pair in pairs} == expected and searched == 48
    pairs, searched = close_pairs(words, 48, 3)
    assert {tuple(map(int, pair)) for pair in pairs} == {(3, 7, 0), (3, 149, 2), (7, 149, 2)} and 2 <= searched < 48


def test_shifted_and_brighter_images_are_near_and_others_are_not():
    images = photos(60)
    near = np.clip(images[5].astype(int) * 0.9 + 20, 0, 255).astype(np.uint8)
    shifted = np.roll(images[9], 1, axis=1)
    found = find_alike(np.concatenate([images, [images[2]], [near], [shifted], np.full((2, 32, 32, 3), 200, np.uint8)]))
    assert found.exact.tolist() == [[2, 60], [63, 64]]
    assert {tuple(pair) for pair in found.near.tolist()} == {(5, 61), (9, 62)}
    assert found.flat == 1  # the other one is its exact duplicate


def test_a_report_counts_between_the_parts_and_names_the_images():
    images = photos(20)
    labels = np.arange(20) % 2
    test = np.concatenate([images[:1], photos(3, seed=9)])
    splits = from_arrays((images, labels), (test, np.array([1, 0, 1, 0])), class_names=["cat", MARKUP], batch_size=4,
                         reader="numpy")  # fmt: skip
    record = json.loads(json.dumps(check(splits)))
    assert record["parts"] == {"train": 20, "test": 4}
    assert record["classes"]["by_class"][1] == {"class": MARKUP, "train": 10, "test": 2}
    assert record["images"]["sizes"] == {"32x32": 24}
    exact = record["exact_duplicates"]
    assert exact["between"]["train_and_test"] == {"pairs": 1, "test_images": 1, "other_label": 1}
    assert exact["listed"] == [
        {
            "first": {"part": "train", "index": 0, "label": "cat"},
            "second": {"part": "test", "index": 0, "label": MARKUP},
        }
    ]
    assert record["near_duplicates"]["pairs"] == 0


def test_labels_and_values_are_counted_by_their_own_figures():
    images = photos(12, side=8)
    labels = np.zeros((12, 2), int)
    labels[:9, 0] = labels[:3, 1] = 1
    record = check(from_arrays((images, labels), (images[:2], labels[:2]), batch_size=4, reader="numpy"))["classes"]
    assert (record["largest"], record["smallest"], record["images_without_labels"]) == (9, 3, 3)
    assert record["labels_per_image"] == 1.0
    values = check(
        from_arrays((images, np.arange(12.0)), (images[:2], np.zeros(2)), task="values", batch_size=4, reader="numpy")
    )
    assert values["classes"]["by_class"][0]["largest"] == 11.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    pictures = photos(12, side=40)
    for part, numbers in (("train", range(10)), ("test", (10, 11))):
        for number in numbers:
            path = root / part / (MARKUP if number % 2 else "plain") / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[number]).save(path)
    Image.fromarray(pictures[0]).save(root / "test" / "plain" / "again.bmp")  # the same pixels in another file
    Image.fromarray(pictures[1][..., 0]).save(root / "test" / "plain" / "grey.png")
    (root / "train" / "plain" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


@pytest.mark.slow
def test_the_command_names_files_broken_and_twice(folder, tmp_path, capsys, monkeypatch):
    from tests.cli.entry import status_of

    record_file = tmp_path / "found.json"
    assert status_of(["data", "check", f"folder:{folder}", "--json", record_file], monkeypatch) == 0
    said = capsys.readouterr().out
    assert MARKUP in said and "again.bmp" in said and "broken files: 1" in said
    record = json.loads(record_file.read_text())
    assert record["broken"]["files"][0]["file"].endswith("broken.png")
    listed = record["exact_duplicates"]["listed"]
    assert [pair["second"]["name"] for pair in listed] == [str(folder / "test" / "plain" / "again.bmp")]
    assert record["images"]["sizes"] == {"40x40": 14} and record["images"]["modes"]["L PNG"] == 1
    assert record["images"]["modes"]["RGB BMP"] == 1


@pytest.mark.slow
def test_a_part_in_files_and_one_in_memory_have_the_same_pairs(folder, monkeypatch):
    monkeypatch.setattr("pipelines.checks.report.CHUNK", 3, raising=False)  # images are decoded some at a time
    name = f"folder:{folder}"
    for reader in ("numpy", "tensorflow"):
        options = {"image_size": 36, "batch_size": 4, "on_broken": "skip", "reader": reader}
        in_memory = load_splits(name, augmentation="flip", **options)
        in_files = load_splits(name, augmentation="imagenet", **options)
        assert in_memory.train_examples.images is not None and in_files.train_examples.images is None
        expected, found = check(in_memory), check(in_files)
        assert expected["exact_duplicates"]["between"]["train_and_test"]["pairs"] == 1
        for kind in ("exact_duplicates", "near_duplicates"):
            assert found[kind]["between"] == expected[kind]["between"]


def test_files_that_can_no_longer_be_read_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.scaling.CACHE_LIMIT_BYTES", 0)  # both parts stay in their files
    paths = [tmp_path / ("train", "test")[k // 4] / "ab"[k % 2] / f"{k}.png" for k in range(8)]
    for path, image in zip(paths, photos(8, side=40), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    splits = load_splits(f"folder:{tmp_path}", batch_size=2, reader="numpy")
    for path in (*paths[:3], *paths[4:7]):
        path.write_bytes(b"gone")
    assert check(splits)["exact_duplicates"]["pairs"] == 0


def test_the_command_checks_a_data_set_of_no_files(monkeypatch, capsys):
    from tests.cli.entry import status_of

    assert status_of(["data", "check", "digits", "--max-train", "300", "--max-test", "50", "--json"], monkeypatch) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parts"] == {"train": 300, "test": 50} and record["broken"]["count"] == 0
    assert record["images"]["sizes"] == {"8x8": 350} and record["images"]["modes"] == {"L": 350}
