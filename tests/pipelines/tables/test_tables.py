"""CSV, Parquet and Hugging Face: the same data whichever way they come; what is counted and what is refused."""

import csv

import numpy as np
import pytest
from PIL import Image

from pipelines import DataError, load_splits
from pipelines.readers.tables.columns import Columns, find_columns, parse_columns
from pipelines.readers.tables.table import Table
from pipelines.readers.tables.targets import read_targets

MARKUP = "<img src=x onerror=alert(1)>"
PARTS = ["train"] * 8 + ["val"] * 2 + ["test"] * 4
KINDS = [("cat", "dog", MARKUP)[k % 3] for k in range(14)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 14 images of 8x8, number k all of grey 10 k."""
    folder = tmp_path_factory.mktemp("photos")
    for k in range(14):
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save(folder / f"{k:02}.png")
    return folder


def write(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def rows_of(labels=KINDS, header=("File Name", "Label", "split")):
    return [header, *([f"{k:02}.png", label, part] for k, (label, part) in enumerate(zip(labels, PARTS, strict=True)))]


def load(name, **options):
    return load_splits(name, batch_size=2, augmentation="none", reader="numpy", **options)


def greys(examples):
    return (np.asarray(examples.images)[examples.rows][:, 0, 0, 0] // 10).tolist()


def test_a_csv_has_its_columns_found_and_its_parts_taken(photos):
    splits = load(f"csv:{write(photos / 'a.csv', rows_of())}")
    assert splits.spec.class_names == (MARKUP, "cat", "dog") and splits.task == "classes"
    assert greys(splits.train_examples) == [*range(8)] and greys(splits.validation_examples) == [8, 9]
    assert greys(splits.test_examples) == [10, 11, 12, 13]
    assert [splits.spec.class_names[k] for k in splits.test_examples.labels] == KINDS[10:]
    assert splits.spec.columns == {"image": "File Name", "label": ["Label"], "split": "split"}
    assert splits.test_examples.name(0) == str(photos / "10.png")
    assert splits.spec.name == f"csv:{photos / 'a.csv'}"


def test_without_a_split_column_a_fifth_of_each_class_tests(photos):
    rows = [("path", "class"), *((f"{k:02}.png", "ab"[k % 2]) for k in range(10))]
    splits = load(f"csv:{write(photos / 'b.csv', rows, ';')}")
    assert np.bincount(splits.test_examples.labels).tolist() == [1, 1]


@pytest.mark.parametrize("labels", ["cat|dog", "cat ; dog"])
def test_several_labels_in_a_cell_are_labels_and_an_empty_cell_is_none(photos, labels):
    cells = [labels, "cat", "", *(["dog|bird", "bird"] * 6)][:14]
    splits = load(f"csv:{write(photos / 'c.csv', rows_of(cells))}")
    assert splits.task == "labels" and splits.spec.class_names == ("bird", "cat", "dog")
    assert splits.train_examples.labels[:3].tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert splits.test()[0][1].shape == (2, 3)


def test_columns_of_zeros_and_ones_are_labels_and_of_other_numbers_values(photos):
    bits = [("image", "a", "b", "split"), *([f"{k:02}.png", k % 2, 1, p] for k, p in enumerate(PARTS))]
    splits = load(f"csv:{write(photos / 'd.csv', bits)}")
    assert splits.task == "labels" and splits.train_examples.labels[:2].tolist() == [[0, 1], [1, 1]]
    numbers = [("image", "age", "weight", "split"), *([f"{k:02}.png", k, k / 4, p] for k, p in enumerate(PARTS))]
    splits = load(f"csv:{write(photos / 'e.csv', numbers)}", columns="image=image,label=age+weight,split=split")
    assert splits.task == "values" and splits.test_examples.labels[1].tolist() == [11.0, 2.75]
    whole = rows_of([str(k) for k in [1, 2, 10, 11] * 3 + [1, 2]])
    assert load(f"csv:{write(photos / 'f.csv', whole)}").spec.class_names == ("1", "2", "10", "11")  # as numbers
    assert load(f"csv:{photos / 'f.csv'}", task="values").task == "values"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_a_cell_of_a_csv_goes_on_behind_what_ends_no_line(photos, mark):
    label = f"a{mark}b"
    splits = load(f"csv:{write(photos / 'marks.csv', rows_of([label, 'c'] * 7))}")
    assert splits.spec.class_names == (label, "c") and len(splits.train_examples) == 8
    rows = [*rows_of([label, "c\nd"] * 7)[:5], ["short"]]  # four rows of which two take two lines
    with pytest.raises(DataError, match="line 8, has 1 cells"):
        load(f"csv:{write(photos / 'marks.csv', rows)}")


def broken_rows(change):
    rows = [list(row) for row in rows_of()]
    change(rows)
    return rows


REFUSED = {
    "missing files": (lambda r: [r[k].__setitem__(0, f"gone{k}.png") for k in (2, 5)],
                      r"2 of 14 rows of .*files are absent: row 3 \(gone2.png\), row 6 \(gone5.png\).*s folder, /"),
    "empty labels": (lambda r: r[4].__setitem__(1, " "), r"1 of 14 rows .*rows without a label: row 5 \(03.png\)"),
    "unknown in test": (lambda r: r[13].__setitem__(1, "Cat"), r"test part has 1 class .*lacks: Cat \(train: cat\)"),
    "two labels": (lambda r: r.append(["00.png", "dog", "train"]), r"1 image in two rows with different labels: 00"),
    "two parts": (lambda r: r.append(["./00.png", KINDS[0], "test"]), r"two rows in different parts: 00.png \(row 2"),
    "no part": (lambda r: r[3].__setitem__(2, "holdout"), r"must name parts. Received holdout"),
    "a short row": (lambda r: r[3].pop(), r"line 4, has 2 cells, the header 3"),
    "no labels": (lambda r: r[0].__setitem__(1, "kind"), r"no column named like labels \(label, labels,.*columns="),
    "NaN among numbers": (lambda r: [row.__setitem__(1, v) for row, v in zip(r[1:], ["nan", *[0.5] * 13], strict=True)],
                          r"1 of 14 rows of .*rows without a label: row 2 "),
    "infinity": (lambda r: [row.__setitem__(1, v) for row, v in zip(r[1:], ["inf", *[1] * 13], strict=True)],
                 r"must hold finite numbers to be a value. Received 'inf'"),
    "a URL": (lambda r: r[2].__setitem__(0, "https://x.org/a.png"),
              r"1 of 14 rows of .*a URL, which is not fetched: row 3 \(https://x.org/a.png\)\. Complete"),
    "two images": (lambda r: [row.append("x") for row in r[1:]] + [r[0].append("path")],
                   r"several columns \(File Name, path\)"),
}  # fmt: skip


@pytest.mark.parametrize("change, message", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_names_and_counts(photos, change, message):
    path = write(photos / "refused.csv", broken_rows(change))
    with pytest.raises(DataError, match=message):
        load(f"csv:{path}")


def test_numbers_of_a_table_mean_the_same_in_every_spelling(photos):
    spelled = {"0 and 1": ("0", "1"), "floats": ("0.0", "1.0"), "words": ("False", "True")}
    for name, words in spelled.items():
        rows = [
            ("image", "a", "b", "split"),
            *([f"{k:02}.png", words[k % 2], words[1], p] for k, p in enumerate(PARTS)),
        ]
        splits = load(f"csv:{write(photos / f'{name}.csv', rows)}")
        assert splits.task == "labels" and splits.train_examples.labels[:2].tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize("given", [None, "image=image,label=a+b,split=split"])
def test_a_row_that_lacks_one_of_several_labels_is_one_without_a_label(photos, given):
    for name, words in {"numbers": "01", "words": ("False", "True")}.items():
        rows = [
            ("image", "a", "b", "split"),
            *([f"{k:02}.png", words[k % 2], words[1], p] for k, p in enumerate(PARTS)),
        ]
        rows[2][1], rows[4][2] = "", "NaN"
        path = write(photos / f"gaps-{name}.csv", rows)
        with pytest.raises(DataError, match=r"2 of 14 rows .*rows without a label: row 3 \(01.png\), row 5"):
            load(f"csv:{path}", columns=given)
        splits = load(f"csv:{path}", columns=given, on_broken="skip")
        assert splits.task == "labels" and splits.spec.class_names == ("a", "b")
        assert greys(splits.train_examples) == [0, 2, 4, 5, 6, 7]
        assert splits.train_examples.labels[:2].tolist() == [[0, 1], [0, 1]]


def test_cells_that_are_missing_make_no_labels_alone():
    table = Table("t", {"image": ["a", "b"], "cat": [1.0, float("nan")], "dog": [None, 0]}, None)
    found = find_columns(table)
    assert found.label == ("cat", "dog") and read_targets(table, found).empty.tolist() == [True, True]
    table.columns["notes"] = [None, None]
    with pytest.raises(DataError, match="no column named like labels"):
        find_columns(table)


@pytest.mark.parametrize("cells", [[1.0, float("nan")], [1.5, float("nan")], [1, None], ["1", "nan"]])
def test_missing_numbers_are_no_class(cells):
    table = Table("t", {"label": cells}, None)
    assert read_targets(table, Columns("image", ("label",), None)).empty.tolist() == [False, True]


def test_classes_of_one_number_have_an_order_of_their_own():
    names = [f"{'0' * zeros}7" for zeros in range(9)]  # as a set they come in any order
    cells = Table("t", {"label": names}, None)
    assert list(read_targets(cells, Columns("image", ("label",), None)).names) == names[::-1]


def test_total_of_the_table_is_images_whatever_labels_they_have(photos):
    splits = load(f"csv:{write(photos / 'sum.csv', rows_of(['a|b', 'a|b', '', *['b'] * 11]))}")
    lines = splits.survey.lines(splits.spec.class_names, splits.parts)
    assert [line.split() for line in lines if "total" in line] == [["total", "8", "2", "4"]]


def test_a_class_may_be_called_nan_beside_other_names():
    targets = read_targets(Table("t", {"label": ["nan", "dad"]}, None), Columns("image", ("label",), None))
    assert targets.names == ("dad", "nan") and not targets.empty.any()


def test_what_may_be_left_out_is_left_out_and_counted(photos):
    def change(rows):
        rows[2][0], rows[4][1] = "gone.png", ""
        rows.append(list(rows[6]))
        rows.append(["broken.png", "cat", "train"])

    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    splits = load(f"csv:{write(photos / 'left.csv', broken_rows(change))}", on_broken="skip")
    assert greys(splits.train_examples) == [0, 2, 4, 5, 6, 7]
    counted = {group["reason"]: group["count"] for group in splits.found()["passed_over"]}
    assert counted == {"rows whose files are absent": 1, "rows without a label": 1,
                       "rows that repeat one before them": 1, "images that cannot be decoded": 1}  # fmt: skip
    assert list(splits.survey.broken) == [str(photos / "broken.png")]


def test_options_of_tables_are_refused_elsewhere_and_files_are_hinted_at(photos):
    with pytest.raises(DataError, match="columns is of tables"):
        load("digits", columns="label=a")
    with pytest.raises(DataError, match=r"give 'csv:.*a\.csv'"):
        load(str(photos / "a.csv"))
    with pytest.raises(DataError, match=r"names 'lable', which.*Did you mean 'Label'"):
        load(f"csv:{write(photos / 'a.csv', rows_of())}", columns="label=lable")
    with pytest.raises(DataError, match="columns must be"):
        parse_columns("label")
    with pytest.raises(DataError, match=r"names label twice: several labels are label=NAME\+NAME"):
        parse_columns("image=a,label=b,label=c")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load(f"csv:{photos / 'nothing.csv'}")
    (photos / "latin.csv").write_bytes("file,label\ncaf\xe9.png,a\n".encode("latin-1"))
    with pytest.raises(DataError, match="must be UTF-8 text: byte 14"):
        load(f"csv:{photos / 'latin.csv'}")


def test_parquet_gives_paths_or_the_images_themselves(photos):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = [(photos / f"{k:02}.png").read_bytes() for k in range(14)]
    tables = {
        "paths": {"path": [f"{k:02}.png" for k in range(14)], "label": KINDS, "split": PARTS},
        "bytes": {"image": [{"bytes": one, "path": None} for one in data], "label": KINDS, "split": PARTS},
        "lists": {
            "image": data,
            "labels": [[kind, "pet"][: 1 + k % 2] for k, kind in enumerate(KINDS)],
            "split": PARTS,
        },
    }
    found = {}
    for name, columns in tables.items():
        parquet.write_table(pyarrow.table(columns), photos / f"{name}.parquet")
        found[name] = load(f"parquet:{photos / name}.parquet")
    expected = load(f"csv:{write(photos / 'g.csv', rows_of())}")
    for name in ("paths", "bytes"):
        np.testing.assert_array_equal(found[name].test()[0][0], expected.test()[0][0])
        assert found[name].test_examples.labels.tolist() == expected.test_examples.labels.tolist()
    assert found["lists"].task == "labels" and found["lists"].train_examples.labels[1].sum() == 2
    assert found["bytes"].test_examples.name(0) == "row 11"
    (photos / "no.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="no Parquet file, or damaged"):
        load(f"parquet:{photos / 'no.parquet'}")


def test_hugging_face_reads_what_save_to_disk_wrote_and_says_what_lacks(photos, tmp_path, no_network):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["z", "a"])})

    def part(numbers):
        columns = {"image": [str(photos / f"{k:02}.png") for k in numbers], "label": [k % 2 for k in numbers]}
        return datasets.Dataset.from_dict(columns, features)

    saved = datasets.DatasetDict({"train": part(range(6)), "test": part(range(6, 9))})
    saved.save_to_disk(tmp_path / "saved")
    splits = load(f"hf:{tmp_path / 'saved'}")
    assert splits.spec.class_names == ("z", "a") and greys(splits.test_examples) == [6, 7, 8]
    assert splits.test_examples.labels.tolist() == [0, 1, 0]
    with pytest.raises(DataError, match=r"neither a folder nor in the cache.*save_to_disk\('FOLDER'\).*hf:FOLDER"):
        load("hf:nobody/nothing")
    with pytest.raises(DataError, match=r"is no folder that `save_to_disk`.*'folder:"):
        load(f"hf:{photos}")
