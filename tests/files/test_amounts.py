"""Sizes and counts as people write them."""

import pytest

from dirac_keras.files.amounts import counted, size_text, unit_of


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (1_000, "1.00 kB"),
        (12_340, "12.3 kB"),
        (251_400, "251 kB"),
        (1_500_000, "1.50 MB"),
        (1_234_000_000, "1.23 GB"),
    ],
)
def test_size_has_three_digits_in_the_unit_that_fits(count, text):
    assert size_text(count) == text


def test_sizes_of_a_table_have_the_unit_of_the_largest():
    unit = unit_of(max(12_340, 791_000))
    assert unit == ("kB", 1_000) and size_text(12_340, unit) == "12.3" and size_text(791_000, unit) == "791"


def test_one_is_no_plural():
    assert (counted(1, "epoch"), counted(2_000, "test image")) == ("1 epoch", "2,000 test images")
