"""One thing spelled in several ways: numbers, lists and gaps as programs write them, and what is asked, not guessed."""

import logging

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError, load_splits
from pipelines.readers.tables.columns import Columns
from pipelines.readers.tables.csv_files import read_csv
from pipelines.readers.tables.doubts import tell_doubts
from pipelines.readers.tables.table import Table
from pipelines.readers.tables.targets import read_targets


def targets_of(*columns, task="auto", **options):
    """The targets of columns named a, b, ..."""
    named = dict(zip("abcdef", columns, strict=False))
    table = Table("t", named, None, **options)
    return read_targets(table, Columns("image", tuple(named), None), task)


@pytest.mark.parametrize(
    "cells", [["1.0", "10.0", "2.0"], ["1", "10.0", "2."], [1.0, 10.0, 2.0], [1, 10, 2], ["1", "10", "2"]]
)
def test_a_whole_number_is_one_class_however_it_is_written(cells):
    found = targets_of([*cells, *cells])
    assert found.names == ("1", "2", "10") and found.labels.tolist() == [0, 2, 1] * 2


def test_names_that_are_no_whole_numbers_stay_as_they_are():
    assert targets_of(["1.0", "beta"]).names == ("1.0", "beta")
    assert targets_of(["01", "1"]).names == ("01", "1")


def test_one_look_is_one_class_in_both_unicode_forms():
    found = targets_of(["caf\u00e9", "cafe\u0301", "tea"])
    assert found.names == ("caf\u00e9", "tea") and found.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("word", ["NA", "N/A", "#N/A", "null", "None", "nan", "<NA>"])
def test_a_word_for_nothing_among_numbers_is_a_gap(word):
    assert targets_of(["0.5", word, "2"]).task == "values" and targets_of(["1", word, "2"]).names == ("1", "2")
    for cells in (["0.5", word, "2"], ["1", word, "2"]):
        assert targets_of(cells).empty.tolist() == [False, True, False]
    assert targets_of(["1", word, "0"], ["1", "1", "0"]).empty.tolist() == [False, True, False]


@pytest.mark.parametrize("number", ["0,5", "1,000", "1,234.5", "-3,25", "50%", "12.5 %"])
def test_numbers_of_other_notations_are_no_names_of_classes_unless_asked(number):
    with pytest.raises(DataError, match=r"column a has numbers such as .*1234\.5 if they are values, or give `task="):
        targets_of([number, "1", number])
    assert targets_of([number, "1"], task="classes").task == "classes"
    assert targets_of([number, "cat"]).task == "classes"  # a name beside it: they are all names


ONE_HOT = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("cells", [ONE_HOT, [[f"{bit}.0" for bit in column] for column in ONE_HOT]])
def test_a_single_1_in_each_row_is_asked_about_and_taken_as_it_is_said(cells):
    with pytest.raises(
        DataError, match=r"each row of a, b, c has a single 1. Give `task=\"classes\"`.*`task=\"labels\"`"
    ):
        targets_of(*cells)
    found = targets_of(*cells, task="classes")
    assert found.task == "classes" and found.names == ("a", "b", "c") and found.labels.tolist() == [0, 1, 2, 0]
    assert targets_of(*cells, task="labels").labels.tolist() == np.transpose(ONE_HOT).tolist()


def test_classes_of_several_columns_need_a_single_1():
    with pytest.raises(DataError, match=r"a single 1 in each row. Received 2 in row 2 of a, b"):
        targets_of([1, 1, 0], [0, 1, 1], task="classes")


def test_a_row_without_one_of_the_columns_of_classes_is_one_without_a_label():
    found = targets_of(["1", "", "0"], ["0", "0", "1"], task="classes")
    assert found.empty.tolist() == [False, True, False] and found.labels[[0, 2]].tolist() == [0, 1]


@pytest.mark.parametrize("cells", [["['cat', 'dog']", "['dog']", "[]"], ['["cat", "dog"]', '["dog"]', "[]"],
                                   [["cat", "dog"], ["dog"], []], ["cat|dog", "dog", None]])  # fmt: skip
def test_lists_are_lists_in_a_parquet_file_and_as_texts(cells):
    found = targets_of(cells)
    assert found.task == "labels" and found.names == ("cat", "dog")
    assert found.labels.tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_name_in_brackets_is_a_name():
    assert targets_of(["[cat]", "[dog]"]).names == ("[cat]", "[dog]")


@pytest.mark.parametrize("spell", [lambda row: row, str, lambda row: [float(bit) for bit in row]])
def test_lists_of_zeros_and_ones_of_one_length_are_a_bit_for_each_label(spell):
    rows = [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    found = targets_of([spell(row) for row in rows])
    assert found.task == "labels" and found.names == ("a0", "a1", "a2") and found.labels.tolist() == rows
    one_hot = [spell(row) for row in np.eye(3, dtype=int).tolist()]
    assert targets_of(one_hot, task="classes").labels.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="a single 1"):
        targets_of(one_hot)


def test_lists_of_numbers_of_labels_stay_numbers():
    found = targets_of([[1], [0, 1], []])  # of different lengths
    assert found.names == ("0", "1") and found.labels.tolist() == [[0, 1], [1, 1], [0, 0]]
    found = targets_of([[0, 1], [1, 0]], class_names={"a": ["cat", "dog"]})  # numbers that have names
    assert found.names == ("cat", "dog") and found.labels.tolist() == [[1, 1], [1, 1]]


def test_a_number_without_a_name_is_no_class_and_minus_one_is_a_gap():
    named = {"class_names": {"a": ["cat", "dog"]}}
    assert targets_of([1, -1, 0], **named).empty.tolist() == [False, True, False]
    assert targets_of([[1], [-1], [0, None]], **named).labels.tolist() == [[0, 1], [0, 0], [1, 0]]
    for cells in ([1, 2], [[0], [2]], [1, -2], [[0], [-2]]):
        with pytest.raises(DataError, match=r"has names for the classes 0 to 1\. Received -?2 in row 2"):
            targets_of(cells, **named)


def test_lists_of_numbers_with_a_fraction_are_values():
    found = targets_of([[0.5, 2], None, [1, 0]])
    assert found.task == "values" and found.names == ("a0", "a1") and found.empty.tolist() == [False, True, False]
    assert found.labels[[0, 2]].tolist() == [[0.5, 2], [1, 0]]
    with pytest.raises(DataError, match=r"as many values in each row\. Received 2 and, in row 2, 1"):
        targets_of([[0.5, 2], [1]])


def test_a_value_that_float32_cannot_hold_is_refused():
    with pytest.raises(DataError, match=r"finite numbers to be a value\. Received 1e\+39 in row 2"):
        targets_of([0.5, 1e39])


def test_names_that_look_like_mistakes_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        tell_doubts("t", ("Cat", "cat", "dog", "dog, cat", "NA"))
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(": ", 1)[1].split(" ", 3)[:3] for text in said] == [
        ["Cat", "and", "cat"], ["NA", "are", "taken"], ["dog,", "cat", "are"]
    ]  # fmt: skip
    caplog.clear()
    tell_doubts("t", ("tench, Tinca tinca", "goldfish"))
    assert not caplog.records


def test_spaces_and_quotes_around_cells_are_no_part_of_them(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"file", "a label, of two"\na.png, "cat, big"\nb.png,"dog"\n')
    assert read_csv(path).columns == {"file": ["a.png", "b.png"], "a label, of two": ["cat, big", "dog"]}
    path.write_text('file;"label, kind"\na.png;cat\n')  # the comma stands between quotes: it delimits nothing
    assert read_csv(path).columns == {"file": ["a.png"], "label, kind": ["cat"]}
    path.write_text('file\tlabel\ta,b\na.png\t\t"1,2"\n')
    assert read_csv(path).columns == {"file": ["a.png"], "label": [None], "a,b": ["1,2"]}


def test_a_csv_whose_first_line_is_a_row_has_no_header(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("a.png,cat\nb.png,dog\n")
    with pytest.raises(DataError, match=r"no header: its first line names the file a\.png"):
        load_splits(f"csv:{tmp_path / 't.csv'}", columns="image=a.png,label=cat", reader="numpy")


def test_a_class_for_each_image_is_named_as_why_there_is_no_test_part(tmp_path):
    for k in range(3):
        Image.new("RGB", (4, 4), (k, k, k)).save(tmp_path / f"{k}.png")
    (tmp_path / "t.csv").write_text("file,label\n0.png,7\n1.png,8\n2.png,9\n")
    with pytest.raises(DataError, match=r"test part from: 3 classes with one image each, or give `task=.values"):
        load_splits(f"csv:{tmp_path / 't.csv'}", reader="numpy")
