import pytest

from dirac_keras.training.chunks.device import percent, size


@pytest.mark.parametrize(
    ("share", "text"),
    [(7.6e-6, "less than 0.1%"), (0.0099, "1.0%"), (0.304, "30.4%"), (0.998, "99.8%"), (12.34, "1234%")],
)
def test_share_of_the_memory_is_as_exact_as_a_reader_can_use_it(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(("count", "text"), [(263_168, "263 kB"), (150_528_000, "151 MB"), (5_310_000_000, "5.31 GB")])
def test_size_has_three_digits(count, text):
    assert size(count) == text
