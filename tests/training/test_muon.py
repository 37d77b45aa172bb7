"""`optimizer=muon` in every family: what it takes, under constraints, beside multipliers, in runs that are resumed."""

import types

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import assert_plain, fold
from dirac_keras.constraints import MaxNorm
from dirac_keras.training.building import build_model, compile_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.optimizers import MuonSGD
from tests.run_checks import KillAfter, Killed, train_fields

MUON = {"recipe": "quick_muon"}
RUN = {"data": "digits", "epochs": 2, "batch_size": 64, "max_train": 512, "max_test": 100, "precision": "float32"}
CONVOLUTIONAL = {
    "diracnet": {"family": "diracnet", "depth": 10, "width": 0.25},
    "van": {"family": "van", "layout": "conv", "depth": 10, "width": 0.25},
    "conv50": {"family": "plainnet", "layout": "conv50", "depth": 50},
}
# Of dense layers, which compile fastest. The skips of the VAN are gone in the second epoch.
DENSE = {
    "diracnet": {"family": "diracnet", "layout": "dense", "depth": 3, "units": 16},
    "van": {
        "family": "van", "layout": "dense", "depth": 4, "units": 16,
        "phase_out_fraction": 2.0, "phase_out_start": 0.25, "phase_out_end": 1.5,
    },
    "plainnet": {"family": "plainnet", "layout": "dense", "depth": 2, "units": 16},
}  # fmt: skip
NETWORKS = CONVOLUTIONAL | {f"dense {name}": fields for name, fields in DENSE.items()}
OF_SGD = {"identity_scale", "filter_scale", "gamma", "beta", "alpha", "bias"}
IMAGES = types.SimpleNamespace(name="images", image_shape=(16, 16, 3), num_classes=10)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ("dense diracnet", 1 + 3),  # blocks behind a first layer
        ("dense van", 1 + 4),
        ("dense plainnet", 2),
        pytest.param("diracnet", 7, marks=pytest.mark.slow),
        pytest.param("van", 1 + 8 + 3, marks=pytest.mark.slow),
        pytest.param("conv50", 50, marks=pytest.mark.slow),
    ],
)
def test_muon_takes_the_kernels_of_hidden_layers_and_nothing_else(fields, count):
    config = TrainConfig(**MUON, **NETWORKS[fields])
    model = build_model(config, IMAGES)
    compile_model(model, config, 1)
    optimizer, variables = model.optimizer, model.trainable_variables
    optimizer.build(variables)
    taken = {variable.path for variable, is_hidden in zip(variables, optimizer._is_hidden, strict=True) if is_hidden}
    layers = [layer for layer in model.layers if hasattr(layer, "kernel") and not layer.name.startswith("head_")]
    assert taken == {layer.kernel.path for layer in layers} and len(taken) == count
    assert {variable.name for variable in variables if variable.path not in taken} <= {*OF_SGD, "kernel"}


class UnitSum(keras.constraints.Constraint):
    """The weights of a unit sum to 1."""

    def __call__(self, w):
        return w / ops.sum(w, axis=0, keepdims=True)


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        (MaxNorm(0.7), lambda kernel: np.linalg.norm(kernel, axis=0).max() <= 0.7 * (1 + 1e-6)),
        (keras.constraints.UnitNorm(axis=0), lambda kernel: np.allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-5)),
        (UnitSum(), lambda kernel: np.allclose(kernel.sum(axis=0), 1, rtol=1e-4)),
    ],
    ids=["largest norm", "norm of 1", "sum of 1"],
)
def test_constraint_holds_after_each_step(constraint, holds):
    rng = np.random.default_rng(0)
    layer = keras.layers.Dense(4, kernel_constraint=constraint, kernel_initializer="random_uniform")
    layer.build((None, 6))
    layer.kernel.assign(rng.uniform(0.5, 1.0, (6, 4)))  # far enough from a sum of 0
    optimizer = MuonSGD(0.1, momentum=0.9, nesterov=True, muon_ratio=1.0)
    optimizer.build(layer.trainable_variables)
    for _ in range(4):
        before = ops.convert_to_numpy(layer.kernel)
        gradients = [rng.normal(size=variable.shape).astype("float32") for variable in layer.trainable_variables]
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients], layer.trainable_variables)
        kernel = ops.convert_to_numpy(layer.kernel)
        assert holds(kernel) and not np.allclose(kernel, before, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_resumed_run_has_the_weights_of_the_uninterrupted_one(name, tmp_path):
    fields = {**MUON, **RUN, **DENSE[name]}
    whole = train_fields(fields, tmp_path / "whole")
    with pytest.raises(Killed):
        train_fields({**fields, "checkpoint_steps": 4}, tmp_path / "run", callbacks=[KillAfter(14)])
    resumed = train_fields({**fields, "checkpoint_steps": 4}, tmp_path / "run")
    for mine, theirs in zip(resumed.model.variables, whole.model.variables, strict=True):
        mine, theirs = (ops.convert_to_numpy(variable) for variable in (mine, theirs))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)  # JAX sums in another order when compiled anew
    assert whole.history[1]["loss"] < whole.history[0]["loss"], "it does not learn"
    folded, _ = fold(resumed.model)
    assert_plain(folded)
