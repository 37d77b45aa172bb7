"""The recipe `int8`: a Dirac network whose identity taps have left when its training ends."""

import keras
import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.deployment.quantization.identity_apart import identity_ratios
from dirac_keras.errors import UserError
from dirac_keras.layers import DiracConv2D
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.recipes import RECIPES
from tests.phase_out.runs import RUN
from tests.run_checks import train_fields


def test_it_is_quick_with_three_times_the_epochs_and_a_bound_that_falls_to_0():
    config = TrainConfig(recipe="int8")
    assert (config.epochs, config.identity_bound, config.identity_bound_end) == (45, 0.0, 27.0)
    assert config.family == "diracnet" and TrainConfig(recipe="int8", epochs=10).identity_bound_end == 6
    differs = {name for name, value in RECIPES["int8"].items() if RECIPES["quick"].get(name) != value}
    assert differs == {"epochs", "identity_bound"}
    assert TrainConfig(recipe="int8", identity_bound=0.25).identity_bound == 0.25


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"parameterization": "plain"}, "Received family=diracnet, parameterization=plain"),
        ({"family": "van"}, "Received family=van, parameterization=dirac"),
    ],
)
def test_networks_without_identities_are_told_that_they_need_it_not(fields, received):
    with pytest.raises(UserError, match=f"recipe=int8 takes the identities out of Dirac kernels, .*{received}") as told:
        TrainConfig(recipe="int8", **fields)
    assert str(told.value).endswith("without identity taps integers are easy, and recipe=quick does.")


@pytest.mark.slow
def test_it_trains_ends_without_identity_taps_and_folds(tmp_path):
    model = train_fields({**RUN, "epochs": 2, "recipe": "int8"}, tmp_path / "run").model
    layers = [layer for layer in model.layers if isinstance(layer, DiracConv2D)]
    assert layers and all(not np.any(keras.ops.convert_to_numpy(layer.identity_scale)) for layer in layers)
    folded, _ = fold(model)
    assert not any(isinstance(layer, DiracConv2D) for layer in folded.layers)
    images = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("float32")
    given = [keras.ops.convert_to_numpy(each(images, training=False)) for each in (model, folded)]
    np.testing.assert_allclose(*given, rtol=1e-4, atol=1e-4)  # float32 sums in another order
    for layer in layers:  # the centre tap is a learned one now, of the size of the others
        ratios = identity_ratios(folded.get_layer(layer.name))
        assert ratios is None or np.median(ratios) < 4
