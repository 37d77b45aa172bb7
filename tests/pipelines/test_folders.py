"""Folders of images as people have them: which are parts, which are classes, and what is passed over and said."""

import logging
import os
import pathlib
import unicodedata

import numpy as np
import pytest

from pipelines import DataError, load_splits
from pipelines.printable import printable
from pipelines.readers import image_files, repeats, survey
from pipelines.readers.layout import list_folder
from pipelines.readers.part_names import part_of
from tests.pipelines.test_datasets import write_image


def write(root, *folders, images=2, start=0):
    """Some images in each folder, no two with the same bytes."""
    for number, folder in enumerate(folders):
        for k in range(images):
            write_image(root / folder / f"{k}.png", value=start + number * images + k)
    return root


def classes_of(root):
    layout = list_folder(root)
    return layout.class_names, {part: np.bincount(item.labels).tolist() for part, item in layout.listings.items()}


def error_of(root):
    with pytest.raises(DataError) as caught:
        list_folder(root)
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)
    return str(caught.value).replace(str(root), "ROOT")


def passed_of(root):
    """Reason -> count."""
    return {reason: group.count for reason, group in list_folder(root).passed.groups.items()}


def test_classes_that_differ_in_spaces_or_capitals_are_said(tmp_path, caplog):
    write(tmp_path, "black cat", "Black  Cat", "dog", images=3)
    splits = load_splits(f"folder:{tmp_path}", batch_size=2, reader="numpy")
    assert splits.spec.num_classes == 3 and "Black  Cat and black cat are different ones, and differ" in caplog.text


# parts


@pytest.mark.parametrize(
    ("name", "part"),
    [("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("trainset", "train"),
     ("train2017", "train"), ("TrainingSet", "train"), ("Train images", "train"), ("train-data", "train"),
     ("val", "validation"), ("VALID", "validation"), ("Validation", "validation"), ("dev", "validation"),
     ("val2017", "validation"), ("eval", "validation"), ("dev_set", "validation"), ("validation_data", "validation"),
     ("test", "test"), ("Testing", "test"), ("test_set", "test"), ("TestSet", "test"), ("test images", "test"),
     ("trains", None), ("contest", None), ("test1", None), ("Test A", None), ("a train", None), ("device", None),
     ("valley", None), ("set", None), ("", None), ("2017", None), ("tested", None), ("trained", None)],
)  # fmt: skip
def test_name_of_a_part(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(
    "names",
    [("Train", "Test"), ("TRAINING", "testing"), ("training_set", "Test_Set"), ("train", "Val"),
     ("train2017", "val2017"), ("train", "dev"), ("Train", "eval")],
)  # fmt: skip
def test_parts_are_known_in_any_spelling(tmp_path, names):
    write(tmp_path, *(f"{part}/{kind}" for part in names for kind in ("cat", "dog")))
    assert classes_of(tmp_path) == (("cat", "dog"), {"train": [2, 2], "test": [2, 2]})


def test_three_parts(tmp_path):
    write(tmp_path, "Training/a", "Testing/a", "Valid/a")
    assert classes_of(tmp_path) == (("a",), {"train": [2], "validation": [2], "test": [2]})
    assert list_folder(tmp_path).folders == {"train": "Training", "test": "Testing", "validation": "Valid"}


PARTS_IN_DOUBT = {
    "val and valid": (["train/a", "val/a", "valid/a"], "several folders that can be the validation part: val, valid"),
    "train twice": (["train/a", "Training/a", "test/a"], "several folders that can be the train part: Training, train"),
    "no train": (["test/a", "val/a"], "named like a test or validation part (val, test) but no train folder"),
    "classes and test": (["cat", "dog", "test"], "named like a test or validation part (test) but no train folder"),
    "classes and a test part": (["cat", "dog", "Test/cat"], "part (Test) but no train folder beside it"),
    "train alone": (["train/a", "train/b"], "has a train folder (train) but neither test nor validation"),
    "train and others": (["Train/a", "pictures/b"], "has a train folder (Train) but neither test nor validation"),
    "no classes": (["train", "test"], "ROOT/train has no class folders, but 2 images directly in it"),
    "unlabelled test": (["train/a", "train/b", "test"], "ROOT/test has no class folders, but 2 images directly in it"),
    "parts below classes": (["cat/train", "cat/test", "dog/train"], "ROOT/cat is a class folder with a folder named "
                            "like a part of the data in it: test. Parts stand above"),
    "one level too deep": (["PHOTOS/train/a", "PHOTOS/test/a"], "one class folder, PHOTOS, with folders of images in "
                           "it (test, train). Give the folder that has the classes"),
    "train in train": (["train/train/a", "train/train/b", "test/a"], "ROOT/train has one class folder, train, with"),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTS_IN_DOUBT)
def test_parts_in_doubt_are_one_error(tmp_path, case):
    folders, message = PARTS_IN_DOUBT[case]
    assert message in error_of(write(tmp_path, *folders))


def test_train_among_the_classes_is_the_vehicle(tmp_path):
    write(tmp_path, "bus", "car", "train")
    assert classes_of(tmp_path)[0] == ("bus", "car", "train")


def test_inside_a_part_all_names_are_classes(tmp_path):
    write(tmp_path, "train/train", "train/test", "train/val", "test/test")
    assert classes_of(tmp_path) == (("test", "train", "val"), {"train": [2, 2, 2], "test": [2]})


def test_images_beside_the_parts_and_classes_are_counted(tmp_path):
    write(tmp_path, "train/a", "test/a", "pictures/more", ".", "train")
    assert passed_of(tmp_path) == {
        "images in folders beside the parts": 2,
        "images beside the parts": 2,
        "images beside the class folders": 2,
    }


# classes


def test_class_of_the_test_part_alone_is_named_with_the_one_that_is_alike(tmp_path):
    write(tmp_path, "train/Cat", "train/dog", "test/cat")
    assert "test has classes that ROOT/train lacks: cat (there: Cat)" in error_of(tmp_path)


def test_names_that_differ_in_their_unicode_form_are_one_class(tmp_path):
    """A Mac's archives have decomposed names."""
    composed = "löwe"
    decomposed = unicodedata.normalize("NFD", composed)
    write(tmp_path, f"train/{decomposed}", f"test/{composed}")
    assert classes_of(tmp_path) == ((composed,), {"train": [2], "test": [2]})
    write(tmp_path, f"train/{composed}")
    assert "ROOT/train has two folders for the class löwe" in error_of(tmp_path)


def test_capitals_make_two_classes(tmp_path):
    assert classes_of(write(tmp_path, "A", "a", "b"))[0] == ("A", "a", "b")


def test_empty_class_says_what_was_passed_over_in_it(tmp_path):
    write(tmp_path, "train/a", "test/a")
    (tmp_path / "train" / "b").mkdir()
    (tmp_path / "train" / "b" / "0.tif").write_bytes(b"II*\0")
    assert "train/b has no images (.bmp, " in error_of(tmp_path)
    assert "passed over: .tif files, which are not read and can be converted to PNG or JPEG: 1" in error_of(tmp_path)


def test_archive_is_no_folder(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"photos\.zip is a file\. Unpack it"):
        list_folder(tmp_path / "photos.zip")
    (tmp_path / "photos.h5").write_bytes(b"\x89HDF")
    with pytest.raises(DataError, match=r"photos\.h5 is a file\. Give the path of a folder that has"):
        list_folder(tmp_path / "photos.h5")


def test_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path, "train/a", "train/b", "test/a")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(image_files.os, "scandir", scandir)
    assert "ROOT/train/b cannot be read: Permission denied" in error_of(tmp_path)


# files

LEFT = {
    "cat/0.tif": ".tif files, which are not read and can be converted to PNG or JPEG",
    "cat/0.HEIC": ".heic files, which are not read and can be converted to PNG or JPEG",
    "cat/notes.txt": ".txt files",
    "cat/Thumbs.db": ".db files",
    "cat/README": "files without a suffix that are no images",
    "cat/._0.png": "hidden files",
    "cat/.0.png": "hidden files",
    "cat/.ipynb_checkpoints/0-checkpoint.png": "images in hidden folders or those of the system",
    "cat/.thumbnails/large/0.png": "images in hidden folders or those of the system",
    "cat/@eaDir/0.png": "images in hidden folders or those of the system",
    "__MACOSX/cat/0.png": "images in hidden folders or those of the system",
    ".cache/0.png": "images in hidden folders or those of the system",
    "0.png": "images beside the class folders",
}


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("below", [".", "train"])
def test_what_is_passed_over_is_counted_with_its_reason(tmp_path, name, below):
    write(tmp_path, *(["cat", "dog"] if below == "." else ["train/cat", "train/dog", "test/cat"]))
    taken = classes_of(tmp_path)
    path = write_image(tmp_path / "elsewhere" / "0.png")
    place = tmp_path / below / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes() if name.endswith("png") else b"some text")
    path.unlink()
    path.parent.rmdir()
    assert classes_of(tmp_path) == taken
    assert passed_of(tmp_path) == {LEFT[name]: 1}
    (line,) = list_folder(tmp_path).passed.lines()
    assert line.startswith(f"{LEFT[name]}: 1 (") and line.split(" (")[-1].split("/")[0].rstrip(")") in str(place)


@pytest.mark.parametrize("name", ["x.JPG", "x.Jpeg", "x.jfif", "x.jpe", "x.jpg", "x"])
def test_suffix_in_any_case_and_none_at_all(tmp_path, name):
    """A JPEG whatever the name; what has no suffix is looked into."""
    write(tmp_path, "a", "b")
    jpeg = write_image(tmp_path / "a" / "0.jpg").read_bytes()
    (tmp_path / "a" / "0.jpg").unlink()
    (tmp_path / "b" / name).write_bytes(jpeg)
    assert {part: sum(counts) for part, counts in classes_of(tmp_path)[1].items()} == {"train": 3, "test": 2}
    assert passed_of(tmp_path) == {}


def test_folders_within_a_class_belong_to_it(tmp_path):
    write(tmp_path, "a/2019/may", "a/2020", "b")
    assert classes_of(tmp_path)[1] == {"train": [3, 1], "test": [1, 1]}


def test_links_are_followed_but_not_into_another_class_or_back(tmp_path):
    write(tmp_path, "a", "b", "c")
    elsewhere = write(tmp_path.parent / f"{tmp_path.name}-elsewhere", "more")
    (tmp_path / "a" / "more").symlink_to(elsewhere / "more")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "other").symlink_to(tmp_path / "c")
    (tmp_path / "b" / "again").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b" / "self")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "b" / "one.png").symlink_to(elsewhere / "more" / "0.png")
    layout = list_folder(tmp_path)
    assert sum(np.bincount(item.labels, minlength=3) for item in layout.listings.values()).tolist() == [4, 3, 2]
    assert passed_of(tmp_path) == {"links to folders that are read elsewhere": 3, "links that lead nowhere": 2}


def test_two_class_folders_that_are_one_are_an_error(tmp_path):
    write(tmp_path, "a", "b")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert "ROOT/c has no images" in error_of(tmp_path) and "read elsewhere" in error_of(tmp_path)


def test_class_folder_may_be_a_link(tmp_path):
    elsewhere = write(tmp_path.parent / f"{tmp_path.name}-elsewhere", "a")
    write(tmp_path, "b")
    (tmp_path / "a").symlink_to(elsewhere / "a")
    assert classes_of(tmp_path) == (("a", "b"), {"train": [1, 1], "test": [1, 1]})


# names that are no text


@pytest.mark.slow
def test_latin_1_name_is_read_and_shown_with_its_byte(tmp_path):
    write(tmp_path, "train/a", "test/a")
    name = os.fsencode(tmp_path / "train" / "a") + b"/caf\xe9.png"
    pathlib.Path(os.fsdecode(name)).write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    for options in ({}, {"augmentation": "imagenet", "image_size": 8}):
        splits = load_splits(f"folder:{tmp_path}", batch_size=3, **options)
        ((images, _),) = splits.train().take(1)
        assert splits.spec.num_train == 3 and np.isfinite(images).all()
    pathlib.Path(os.fsdecode(name)).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 3 image files cannot be decoded: .*/a/caf\\xe9\.png \("):
        load_splits(f"folder:{tmp_path}")


def test_path_that_no_record_can_hold_is_refused(tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    write(root, "a", "b")
    with pytest.raises(DataError, match=r"name must be UTF-8 text.* Received folder:.*/caf\\xe9\. Rename"):
        load_splits(f"folder:{root}")


def test_class_name_with_an_escape_sequence_is_text(tmp_path):
    write(tmp_path, "a\x1b[31mb", "c\u202ed", os.fsdecode(b"\xe9"))
    assert classes_of(tmp_path)[0] == (r"\xe9", r"a\x1b[31mb", r"c\u202ed")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("größe 1.png", "größe 1.png"), ("a\nb", r"a\nb"), ("\x1b]0;x\x07", r"\x1b]0;x\x07"), ("\x9bm", r"\x9bm"),
     ("a\u202eb", r"a\u202eb"), (os.fsdecode(b"caf\xe9"), r"caf\xe9"), ("日本", "日本"), ("\x7f", r"\x7f"),
     ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
     ("🐈\u200d⬛", "🐈\u200d⬛"), ("a\u200bb", r"a\u200bb")],
)  # fmt: skip
def test_printable(name, expected):
    assert printable(name) == expected
    printable(name).encode()


# what is said


@pytest.mark.slow
def test_table_counts_images_by_class_and_part(tmp_path, caplog):
    write(tmp_path, "Train/cat", "Train/dog", "Test/cat", images=4)
    for k in range(30):
        (tmp_path / "Train" / "dog" / f"{k}.tif").write_bytes(b"II*\0")
    with caplog.at_level(logging.INFO, "pipelines"):
        splits = load_splits(f"folder:{tmp_path}", batch_size=2, validation=3, seed=1)
    lines = next(record.getMessage() for record in caplog.records if "classes;" in record.getMessage()).splitlines()
    validation = np.bincount(splits.validation_examples.labels, minlength=2)
    assert lines[0] == f"{tmp_path}: 2 classes; train: Train/, test: Test/"
    assert [line.split() for line in lines[1:5]] == [
        ["class", "train", "validation", "test"],
        ["cat", str(4 - validation[0]), str(validation[0]), "4"],
        ["dog", str(4 - validation[1]), str(validation[1]), "0"],
        ["total", "5", "3", "4"],
    ]
    assert lines[5].startswith(
        "passed over: .tif files, which are not read and can be converted to PNG or JPEG: 30 (Tr"
    )
    found = splits.found()
    assert found["images"]["test"] == {"cat": 4, "dog": 0}
    assert [(group["count"], group["examples"][0]) for group in found["passed_over"]] == [(30, "Train/dog/0.tif")]


@pytest.mark.slow
def test_skipped_images_are_counted_among_what_was_passed_over(tmp_path):
    write(tmp_path, "train/a", "test/a")
    (tmp_path / "train" / "a" / "empty.png").write_bytes(b"")
    splits = load_splits(f"folder:{tmp_path}", batch_size=2, on_broken="skip")
    assert [(group["reason"], group["count"]) for group in splits.found()["passed_over"]] == [
        ("image files that cannot be decoded", 1)
    ]


def test_long_list_of_classes_is_shortened(tmp_path):
    names = tuple(f"class {k:04}" for k in range(1000))
    counts = {"train": np.arange(1000) + 1, "test": np.full(1000, 2)}
    lines = survey._table(names, counts, [500_500, 2_000])
    assert len(lines) == 13
    assert lines[-2] == "  ... 990 more, with 11 to 1,000 train, 2 to 2 test images each"
    assert lines[-1].split() == ["total", "500,500", "2,000"]
    assert len({len(line) for i, line in enumerate(lines) if i != 11}) == 1


def test_numbers_stand_below_each_other_behind_names_of_any_letters():
    """Letters of Chinese take two columns, marks and joiners none; a long name ends in dots."""
    names = ("\u6f22\u5b57", "e\u0301te\u0301", "\u06a9\u200c", "x" * 50, "\u6f22" * 30)
    lines = survey._table(names, {"train": np.arange(5)}, [5])
    heads = [line.rstrip("0123456789").rstrip() for line in lines[1:-1]]
    assert [head.strip() for head in heads] == [*names[:3], "x" * 37 + "...", "\u6f22" * 18 + "..."]
    seen = [len(line.replace("\u0301", "").replace("\u200c", "")) + line.count("\u6f22") + line.count("\u5b57")
            for line in lines]  # fmt: skip
    assert len(set(seen)) == 1


@pytest.mark.slow
def test_files_in_two_parts_are_said(tmp_path, caplog):
    write(tmp_path, "train/a", "train/b", "test/a", "val/a", images=3)
    for name in ("test/a/1.png", "val/a/2.png"):
        (tmp_path / name).write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    with caplog.at_level(logging.WARNING, "pipelines"):
        splits = load_splits(f"folder:{tmp_path}", batch_size=2)
    said = [
        "validation files that are in the training part too, byte for byte: 1 (val/a/2.png is train/a/0.png)",
        "test files that are in the training part too, byte for byte: 1 (test/a/1.png is train/a/0.png)",
    ]
    assert [record.getMessage() for record in caplog.records] == said == splits.found()["repeats"]


def test_file_in_two_classes_is_said(tmp_path):
    write(tmp_path, "train/a", "train/b", "test/a")
    (tmp_path / "train" / "b" / "x.png").write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    found = repeats.find_repeats(list_folder(tmp_path).listings).lines(str(tmp_path))
    assert found == ["files that are in two classes, byte for byte: 1 (train/b/x.png is train/a/0.png)"]


def test_files_that_differ_in_one_byte_are_no_repeats(tmp_path):
    """The first byte of two: behind it, sizes and tails are the same."""
    for name, first in (("train/a/0.png", b"a"), ("test/a/0.png", b"b")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(first + bytes(10_000))
    assert repeats.find_repeats(list_folder(tmp_path).listings).lines(str(tmp_path)) == []


def test_too_many_files_are_not_searched_and_that_is_said(tmp_path, monkeypatch):
    write(tmp_path, "train/a", "test/a")
    monkeypatch.setattr(repeats, "MOST_FILES", 3)
    found = repeats.find_repeats(list_folder(tmp_path).listings)
    assert not found.searched and found.lines(str(tmp_path)) == []
