"""Data that have a validation part are known for it before their images are read, and by the rule of the reading."""

import numpy as np
import pytest
from PIL import Image

from pipelines import has_own_validation, load_splits
from pipelines.examples import DataError


def write(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(place)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("train", "val", "test"), True),
        (("Training", "dev", "testing"), True),
        (("train", "val"), False),  # which is the test part then
        (("train", "test"), False),
        (("",), False),
    ],
)
def test_folders_and_tables_say_what_their_reading_finds(parts, expected, tmp_path):
    lines = ["image,label,split"]
    for part in parts:
        for label in "ab":
            for k in range(3):
                place = tmp_path / "data" / part / label / f"{k}.png"
                write(place)
                lines.append(f"{place},{label},{part}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines if parts[0] else [line.rsplit(",", 1)[0] for line in lines]))
    for name in (f"folder:{tmp_path / 'data'}", f"csv:{table}"):
        found = load_splits(name, batch_size=2, reader="numpy").validation() is not None
        assert has_own_validation(name) is found is expected


def test_named_data_and_what_is_not_there_have_none(tmp_path):
    assert not has_own_validation("digits")
    assert not has_own_validation(f"folder:{tmp_path / 'absent'}")  # whose reading says what is wrong
    with pytest.raises(DataError, match=r"absent\.csv"):
        has_own_validation(f"csv:{tmp_path / 'absent.csv'}")
