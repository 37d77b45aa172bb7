import numpy as np

from dirac_keras.evaluation.worst import Worst


def test_the_worst_of_all_batches_are_kept_in_order():
    rng = np.random.default_rng(0)
    badness = rng.permutation(1000).astype(float)
    badness[rng.random(1000) < 0.5] = -np.inf
    worst, fetched = Worst(most=10), []
    for start in range(0, 1000, 64):

        def pixels_of(place, start=start):
            fetched.append(start + place)
            return np.full((2, 2, 1), (start + place) % 256, "uint8")

        worst.offer(start, badness[start : start + 64], pixels_of)
    found = worst.found()
    assert [kept.index for kept in found] == np.argsort(-badness)[:10].tolist()
    assert [kept.badness for kept in found] == sorted(badness, reverse=True)[:10]
    assert all(kept.pixels[0, 0, 0] == kept.index % 256 for kept in found)
    assert len(fetched) < 200  # images that are not kept are not made


def test_of_two_alike_the_earlier_one_is_kept():
    worst = Worst(most=2)
    worst.offer(0, np.array([1.0, 1.0, 1.0]), lambda place: None)
    worst.offer(3, np.array([1.0, 2.0]), lambda place: None)
    assert [kept.index for kept in worst.found()] == [4, 0]


def test_what_is_not_bad_is_not_kept():
    worst = Worst(most=2)
    worst.offer(0, np.array([-np.inf, -np.inf]), lambda place: None)
    assert worst.found() == []
