import numpy as np
import pytest

from dirac_keras.evaluation.outcomes import choose, collect, pixels_of
from dirac_keras.evaluation.values import deviations
from tests.evaluation.networks import batches_of, spec_of, told

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), "uint8")
GIVEN = np.random.default_rng(1).dirichlet([0.5] * 3, 20)
TRUTH = np.random.default_rng(2).integers(0, 3, 20).astype("int32")


def collected(size=7, **options):
    spec = spec_of("abc")
    return collect(told(GIVEN), batches_of(IMAGES, TRUTH, spec, size), spec, len(IMAGES), **options)


def test_columns_are_those_of_each_image():
    found = collected()
    assert found.images == 20
    assert np.array_equal(found.columns["predicted"], GIVEN.argmax(-1))
    assert found.columns["confidence"] == pytest.approx(GIVEN.max(-1), rel=1e-6)
    assert found.columns["loss"] == pytest.approx(-np.log(GIVEN[np.arange(20), TRUTH]))
    assert np.array_equal(found.columns["rank"] == 0, found.right)
    assert np.exp(found.outputs) == pytest.approx(GIVEN, rel=1e-5)


def test_batches_do_not_matter():
    one, other = collected(size=3), collected(size=20)
    assert all(np.array_equal(one.columns[name], other.columns[name]) for name in one.columns)
    assert [kept.index for kept in one.worst] == [kept.index for kept in other.worst]
    assert np.array_equal(one.outputs, other.outputs)


def test_whole_outputs_are_kept_of_so_many_images_as_fit():
    found = collected(kept_numbers=15)  # five images of three classes
    assert len(found.kept) == 5
    assert np.array_equal(found.kept, choose(20, 5, 0))
    assert np.exp(found.outputs) == pytest.approx(GIVEN[found.kept], rel=1e-5)
    assert found.images == 20


def test_the_worst_mistakes_have_their_own_pixels():
    found = collected(most_mistakes=4)
    wrong = np.flatnonzero(~found.right)
    expected = wrong[np.argsort(-GIVEN.max(-1)[wrong])][:4]
    assert [kept.index for kept in found.worst] == expected.tolist()
    assert all(np.array_equal(kept.pixels, IMAGES[kept.index]) for kept in found.worst)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.0, 255.0), (127.5, 127.5), (120.7, 61.3)])
def test_every_pixel_value_comes_back(mean, std):
    spec = spec_of("ab", (16, 16, 1), mean=mean, std=std)
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    ((scaled, _),) = batches_of(pixels, np.zeros(1), spec)
    assert np.array_equal(pixels_of(scaled, spec), pixels)


def test_labels_are_right_where_all_are():
    spec = spec_of("xy", task="labels")
    truth = np.array([[1, 0], [1, 1], [0, 0]])
    given = [[0.9, 0.2], [0.9, 0.4], [0.1, 0.1]]
    found = collect(told(given), batches_of(IMAGES[:3], truth, spec), spec, 3)
    assert found.right.tolist() == [True, False, True]
    assert found.columns["loss"][1] == pytest.approx(-(np.log(0.9) + np.log(0.4)) / 2)
    assert [kept.index for kept in found.worst] == [1]


def test_errors_of_several_values_are_compared_in_units_of_each():
    """Grams vary by 1,000, metres by 0.1: 100 g are a tenth of a unit, 0.2 m are two."""
    spec = spec_of("gm", task="values")
    truth = np.array([[0, 1.0], [2000, 1.2], [0, 1.2], [2000, 1.0]])
    given = truth + np.array([[100, 0], [0, 0.2], [-300, 0], [0, 0]])
    units = deviations(truth)
    assert units.tolist() == pytest.approx([1000, 0.1]) and deviations(np.ones((3, 1))).tolist() == [1]
    found = collect(told(given), batches_of(IMAGES[:4], truth, spec), spec, 4, most_mistakes=2, units=units)
    assert [kept.index for kept in found.worst] == [1, 2]
    assert [kept.badness for kept in found.worst] == pytest.approx([2 / 2**0.5, 0.3 / 2**0.5], rel=1e-5)
    assert found.columns["loss"][0] == pytest.approx(5000)  # 100 squared, halved: the loss stays in own units


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="made has no images"):
        collect(told([]), iter(()), spec_of("ab"), 0)
