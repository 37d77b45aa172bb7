import pytest

from dirac_keras.errors import UserError
from dirac_keras.training.chunks.lengths import BUFFER_STEPS, ChunkLength, capacity_of, parse_steps
from dirac_keras.training.stepping.execution import Execution


def test_length_grows_to_a_second():
    length, seen = ChunkLength("auto", 1000), []
    for _ in range(6):
        seen.append(length.value)
        length.measured(length.value, 0.01 * length.value)  # 10 ms a step
    assert seen == [1, 4, 16, 64, 100, 100]


def test_length_follows_slow_steps_down_and_stays_where_it_is_near():
    length = ChunkLength("auto", 1000)
    length.value = 100
    length.measured(100, 4.0)
    assert length.value == 25
    length.measured(25, 1.1)  # 22.7 steps a second
    assert length.value == 25
    length.measured(25, 1000.0)
    assert length.value == 1


def test_fixed_length_stays():
    length = ChunkLength(7, 1000)
    length.measured(7, 100.0)
    assert length.value == length.most == 7
    assert ChunkLength(7, 5).value == ChunkLength(7, 5).most == 5
    assert ChunkLength("auto", 11).most == 11


def test_input_has_room_for_the_same_steps_whatever_is_asked():
    small = [capacity_of(asked, 10_000, 1000, 2**26) for asked in ("auto", 1, 50, BUFFER_STEPS)]
    assert set(small) == {BUFFER_STEPS}
    assert capacity_of(2000, 10_000, 1000, 2**26) == 2000
    assert capacity_of("auto", 30, 1000, 2**26) == 30  # an epoch has no more
    assert capacity_of("auto", 10_000, 2**25, 2**26) == 2
    assert capacity_of("auto", 10_000, 2**30, 2**26) == 1


@pytest.mark.parametrize(
    ("text", "value"), [("auto", "auto"), ("12", 12), (3, 3), ("0", None), ("-1", None), (1.5, None)]
)
def test_steps_are_auto_or_a_count(text, value):
    assert parse_steps(text) == value


@pytest.mark.parametrize("value", ["often", 0, True, 2.5])
def test_other_steps_are_refused(value):
    with pytest.raises(UserError, match=f"`steps_per_execution` must be auto or a whole number .*{value}"):
        Execution(value)


def test_other_places_of_the_data_are_refused():
    with pytest.raises(UserError, match=r"must be one of auto, yes, no\. Received data_on_device='maybe'"):
        Execution("auto", "maybe")
