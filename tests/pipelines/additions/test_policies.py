import numpy as np
import pytest

from pipelines.additions.policies import CHOICES, CIFAR10, IMAGENET, chances_of, steps_of
from pipelines.augmentation import Augmentation

COLOUR, GREY = (32, 64, 3), (32, 64, 1)


def chosen(name):
    """The chance that takes an operation of RandAugment."""
    return (CHOICES.index(name) + 0.5) / len(CHOICES)


@pytest.mark.parametrize(
    ("name", "magnitude", "sign", "number"),
    [
        ("rotate", 10, 0.9, 30.0),
        ("rotate", 5, 0.1, -15.0),
        ("shear_y", 10, 0.9, 0.3),
        ("translate_x", 10, 0.9, 29),  # 150 / 331 of 64 columns
        ("translate_y", 10, 0.1, -15),  # of 32 rows: 14.5
        ("solarize", 2.5, 0.9, 192.0),
        ("posterize", 5, 0.9, 6),
        ("brightness", 10, 0.9, 1.9),
        ("color", 10, 0.1, 0.1),
        ("contrast", 20, 0.1, 0.0),  # beyond the range a factor stays above 0
        ("posterize", 30, 0.9, 1),
        ("solarize", 30, 0.9, 0.0),
        ("equalize", 7, 0.9, 0.0),
    ],
)
def test_randaugment_at_a_magnitude(name, magnitude, sign, number):
    ((found, value),) = steps_of(Augmentation(randaugment=(1, magnitude)), [chosen(name), sign], COLOUR)
    assert found == name and value == pytest.approx(number)


def test_randaugment_at_magnitude_0_changes_nothing_but_by_levels():
    neutral = {"color": 1, "contrast": 1, "brightness": 1, "sharpness": 1, "solarize": 256, "posterize": 8}
    for name in CHOICES:
        ((_, value),) = steps_of(Augmentation(randaugment=(1, 0.0)), [chosen(name), 0.9], COLOUR)
        assert value == neutral.get(name, 0)


def test_randaugment_of_grey_images_chooses_among_the_13_others():
    chances = np.random.default_rng(0).random((2000, 2))
    names = {steps_of(Augmentation(randaugment=(1, 5.0)), pair, GREY)[0][0] for pair in chances}
    assert names == set(CHOICES) - {"color"}


def test_autoaugment_has_25_pairs_whose_probabilities_and_levels_are_the_tables():
    for policy in (CIFAR10, IMAGENET):
        assert len(policy) == 25
        for pair in policy:
            assert len(pair) == 2
            assert all(0 <= probability <= 1 and 0 <= level <= 9 for _, probability, level in pair)
    # arXiv:1805.09501, rows of tables 7 and 9
    assert CIFAR10[1] == (("rotate", 0.7, 2), ("translate_x", 0.3, 9))
    assert CIFAR10[13] == (("brightness", 0.9, 6), ("color", 0.2, 8))
    assert IMAGENET[0] == (("posterize", 0.4, 8), ("rotate", 0.6, 9))
    assert IMAGENET[17] == (("sharpness", 0.4, 7), ("invert", 0.6, 0))


def test_autoaugment_takes_each_operation_of_a_pair_with_its_probability():
    policy = Augmentation(autoaugment="cifar10")
    # The first pair: invert with 0.1, contrast with 0.2 at 6 of 9: 0.1 + 1.8 * 6 / 9.
    assert steps_of(policy, [0.0, 0.05, 0.9, 0.1, 0.9], COLOUR) == [("invert", 0.0), ("contrast", pytest.approx(1.3))]
    assert steps_of(policy, [0.0, 0.15, 0.9, 0.25, 0.9], COLOUR) == []
    # The second: rotate with 0.7 at 2 of 9, translate_x with 0.3 at 9 of 9, 10 / 32 of the columns.
    found = steps_of(policy, [1.5 / 25, 0.6, 0.1, 0.2, 0.9], COLOUR)
    assert found == [("rotate", pytest.approx(-30 * 2 / 9)), ("translate_x", 20)]


def test_autoaugment_shifts_imagenet_policies_by_the_paper_s_share():
    assert all(name != "translate_x" for pair in IMAGENET for name, *_ in pair)  # the policy has no translation
    found = steps_of(Augmentation(autoaugment="imagenet"), [0.0, 0.0, 0.9, 0.0, 0.1], COLOUR)
    assert found == [("posterize", 4), ("rotate", -30.0)]


def test_jitter_draws_factors_around_1_and_turns_around_0_in_some_order():
    jitter = Augmentation(jitter=(0.4, 0.2, 0.6, 0.1))
    found = steps_of(jitter, [0.0, 0.0, 0.5, 0.75, 0.25], COLOUR)
    assert found == [
        ("brightness", pytest.approx(0.6)),
        ("contrast", pytest.approx(1.0)),
        ("color", pytest.approx(1.3)),
        ("hue", pytest.approx(-0.05)),
    ]
    last = steps_of(jitter, [0.999, 0.0, 0.5, 0.75, 0.25], COLOUR)
    assert [name for name, _ in last] == ["hue", "color", "contrast", "brightness"] and dict(last) == dict(found)
    without = steps_of(Augmentation(jitter=(0.4, 0.4, 0.0, 0.0)), [0.0] * 5, GREY)
    assert [name for name, _ in without] == ["brightness", "contrast"]


def test_chances_are_as_many_as_are_taken():
    both = Augmentation(randaugment=(3, 9.0), jitter=(0.4, 0.4, 0.4, 0.1))
    assert chances_of(both) == 11 and len(steps_of(both, [0.3] * 11, COLOUR)) == 7
    with pytest.raises(StopIteration):
        steps_of(Augmentation(randaugment=(3, 9.0)), [0.3] * 5, COLOUR)


@pytest.mark.parametrize(
    ("sides", "most"), [((224, 224), 2.0), ((32, 32), 2.0), ((16, 40), 1.0), ((8, 8), 0.5), ((1, 1), 0.1)]
)
def test_a_blur_is_at_most_a_sixteenth_of_the_side(sides, most):
    """Of digits of 8 pixels a deviation of 2 leaves nothing to read; from 32 pixels on it is that of the paper."""
    (found,) = steps_of(Augmentation(blur=1.0), [0.0, 1.0], (*sides, 1))
    assert found == ("blur", pytest.approx(most))


@pytest.mark.parametrize(
    ("augmentation", "chances", "expected"),
    [
        (Augmentation(vflip=0.3), [0.29], [("flip_y", 0.0)]),
        (Augmentation(vflip=0.3), [0.31], []),
        (Augmentation(grey=0.3), [0.29], [("color", 0.0)]),
        (Augmentation(blur=0.3), [0.29, 0.5], [("blur", 1.05)]),  # the middle of 0.1 to 2 pixels
        (Augmentation(blur=0.3), [0.3, 0.5], []),
        (Augmentation(vflip=1.0, grey=1.0, blur=1.0), [0, 0, 0, 0], [("flip_y", 0), ("color", 0), ("blur", 0.1)]),
    ],
)
def test_what_is_taken_by_chance_takes_one_number_whether_it_is_taken_or_not(augmentation, chances, expected):
    assert chances_of(augmentation) == len(chances)
    found = steps_of(augmentation, chances, COLOUR)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [number for _, number in found] == pytest.approx([number for _, number in expected])
