import numpy as np
import pytest

from dirac_keras.evaluation.intervals import Paired, difference, mcnemar, wilson


def test_wilson_of_eight_in_ten():
    # z^2 = 3.8415: centre (0.8 + 0.19207) / 1.38415, half 1.95996 sqrt(0.016 + 0.0096036) / 1.38415.
    found = wilson(8, 10)
    assert found.value == 0.8
    assert (found.low, found.high) == pytest.approx((0.490162, 0.943318), abs=1e-5)


def test_wilson_at_the_ends_is_exact_there_and_open_on_the_other_side():
    none, all_of = wilson(0, 10), wilson(10, 10)
    assert none.low == 0.0
    assert none.high == pytest.approx(3.841459 / 13.841459, abs=1e-6)  # z^2 / (n + z^2)
    assert all_of.high == 1.0
    assert all_of.low == pytest.approx(1 - none.high)


def test_no_share_of_nothing():
    with pytest.raises(ValueError, match="total must be 1 or more"):
        wilson(0, 0)


def test_pairs_are_counted():
    found = Paired.of([1, 1, 1, 0, 0], [1, 0, 0, 1, 0])
    assert found == Paired(1, 2, 1, 1)
    assert found.total == 5


def test_mcnemar_of_ten_against_two():
    found = mcnemar(Paired(50, 10, 2, 5))
    assert found.exact == pytest.approx(2 * (1 + 12 + 66) / 2**12)  # both tails of a fair coin, 12 times
    assert found.chi_squared == pytest.approx(49 / 12)  # (|10 - 2| - 1)^2 / 12
    assert found.approximate == pytest.approx(0.04331, abs=1e-5)


@pytest.mark.parametrize("cells", [(9, 0, 0, 1), (9, 3, 3, 1)])
def test_mcnemar_of_equal_counts_is_certain_of_nothing(cells):
    found = mcnemar(Paired(*cells))
    assert (found.exact, found.chi_squared, found.approximate) == (1.0, 0.0, 1.0)


def test_difference_of_newcombe():
    # By hand: Wilson 0.501411..0.758611 and 0.311622..0.576940, phi = (20 x 16 - 12 x 2 - 25) / sqrt(354816).
    found = difference(Paired(20, 12, 2, 16))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.05616, 0.32921), abs=2e-5)


def test_difference_turns_its_sign_with_the_networks():
    one, other = difference(Paired(20, 12, 2, 16)), difference(Paired(20, 2, 12, 16))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_difference_of_a_network_with_itself_is_none():
    found = difference(Paired(5, 0, 0, 0))
    assert found.value == 0.0
    assert -1.0 <= found.low <= 0.0 <= found.high <= 1.0


def test_interval_of_pairs_holds_its_promise():
    """Of 200 draws with a true difference of 0.1, about 95 % of the intervals cover it; 89 % is 4 deviations below."""
    rng = np.random.default_rng(0)
    draws = rng.multinomial(100, [0.6, 0.2, 0.1, 0.1], 200)
    found = [difference(Paired(*map(int, draw))) for draw in draws]
    assert np.mean([one.low <= 0.1 <= one.high for one in found]) > 0.89
