"""Sizes are estimated before anything is built: a mistake ends at once, a network that fits is let through."""

import math

import pytest

from dirac_keras.models.family import FAMILIES
from dirac_keras.training import limits
from dirac_keras.training.building import build_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.limits import check_size


class Spec:
    name, num_classes, num_train = "made up", 10, 1000
    image_shape = (32, 32, 3)


def config(**fields):
    return TrainConfig(**{"data": "cifar10", "precision": "float32", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 999_999_994},
        {"depth": 10, "width": 1e9},
        {"depth": 10, "width": 1e300},
        {"depth": 10, "batch_size": 10**12},
        {"family": "plainnet", "depth": 10**9, "units": 1},
        {"family": "plainnet", "depth": 2, "units": 10**9},
        {"family": "van", "depth": 10**9},
        {"family": "highway", "layout": "conv", "depth": 3 * 10**9 + 4},
        {"family": "vgg", "depth": 11, "width": 1e6},
        {"family": "plainnet", "layout": "conv50", "depth": 50, "batch_size": 10**9},
    ],
    ids=str,
)
def test_network_beyond_every_memory_is_refused_at_once(fields, monkeypatch):
    monkeypatch.setattr(limits, "machine_bytes", lambda: 2**40)
    monkeypatch.setattr(limits, "_has_accelerator", lambda: False)
    with pytest.raises(ValueError, match=r"takes about .* GB of memory; 1.1e\+03 GB are allowed.*`max_gigabytes`"):
        check_size(config(**fields), Spec)


def test_image_size_is_judged_before_the_data_are_read(monkeypatch):
    monkeypatch.setattr(limits, "machine_bytes", lambda: 2**40)
    monkeypatch.setattr(limits, "_has_accelerator", lambda: False)
    with pytest.raises(ValueError, match="images of 100000 x 100000 pixels"):
        check_size(config(depth=10, image_size=100_000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 12}, "depth must be 6 N \\+ 4 for layout='cifar'.*the nearest are 10 and 16"),
        ({"recipe": "fast", "depth": 10}, "depth must be 3 N \\+ 2.*the nearest are 8 and 11"),
        ({"family": "plainnet", "layout": "conv50", "depth": 49}, "depth must be 50. Received depth=49"),
    ],
)
def test_depth_that_no_network_has_is_refused_before_the_data_are_read(fields, message):
    with pytest.raises(ValueError, match=message):
        check_size(config(**fields))


def test_limit_can_be_raised():
    large = config(depth=10, width=100.0)
    with pytest.raises(ValueError, match="1 GB are allowed"):
        check_size(large, Spec, max_gigabytes=1)
    check_size(large, Spec, max_gigabytes=1e6)


def test_more_steps_than_can_be_counted_are_refused():
    with pytest.raises(ValueError, match=r"are 7,000,000,000 steps; at most 2,147,483,647"):
        check_size(config(depth=10, epochs=10**9, batch_size=128), Spec, max_gigabytes=1000)


@pytest.mark.parametrize(("name", "layout"), [(f.name, layout) for f in FAMILIES.values() for layout in f.layouts])
def test_estimate_is_right_to_a_factor_of_three(name, layout):
    """Against the numbers of the weights of a network of the layout's own sizes."""
    found = FAMILIES[name].layout(layout)
    fields = {"family": name, "layout": layout, "depth": max(found.smallest_depth(), 8)}
    if not found.has_depth(fields["depth"]):
        fields["depth"] = found.smallest_depth()
    one = config(**fields)
    spec = Spec if "imagenet" not in layout else type("Spec", (Spec,), {"image_shape": (64, 64, 3)})
    weights, _ = limits._estimate(one, spec.image_shape, 10)
    counted = sum(math.prod(weight.shape) for weight in build_model(one, spec).trainable_weights)
    assert counted / 3 < weights < 3 * counted


@pytest.mark.parametrize("field", ["depth", "epochs", "batch_size", "seed", "max_train", "units"])
def test_number_of_400_digits_is_one_short_line(field):
    with pytest.raises(ValueError, match=field) as caught:
        config(family="plainnet", **{field: 10**400})
    assert len(str(caught.value)) < 250
