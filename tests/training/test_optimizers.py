import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization, DiracDense
from dirac_keras.training.optimizers import CoupledSGD


def network():
    return keras.Sequential([keras.Input((4,)), DiracDense(4), BatchNormalization(), keras.layers.Dense(2)])


def step(model, optimizer, gradients):
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], model.trainable_variables)


def definition(weights, names, gradients, lr, momentum, l2, nesterov):
    """SGD with coupled L2 as it is written: v <- m v - lr (g + l2 w); w <- w + v, in float64."""
    weights = [w.astype("float64") for w in weights]
    velocity = [np.zeros_like(w) for w in weights]
    for gradient in gradients:
        for i, g in enumerate(gradient):
            g = g + (l2 * weights[i] if names[i] == "kernel" else 0.0)
            velocity[i] = momentum * velocity[i] - lr * g
            weights[i] = weights[i] + (momentum * velocity[i] - lr * g if nesterov else velocity[i])
    return weights


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("reload_after", [None, 2])
def test_weight_decay_equals_its_definition_also_after_save_and_load(nesterov, reload_after, tmp_path):
    rng = np.random.default_rng(0)
    model = network()
    model.compile(CoupledSGD(0.1, momentum=0.9, nesterov=nesterov, l2=0.05), loss="mse")
    names = [variable.name for variable in model.trainable_variables]
    start = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    gradients = [[rng.normal(size=w.shape).astype("float32") for w in start] for _ in range(5)]
    model.optimizer.build(model.trainable_variables)

    step(model, model.optimizer, gradients[:2])
    if reload_after:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    step(model, model.optimizer, gradients[2:])

    expected = definition(start, names, gradients, 0.1, 0.9, 0.05, nesterov)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), value, rtol=2e-5, atol=1e-5)  # float32, 5 steps


def test_only_kernels_decay():
    model = network()
    optimizer = CoupledSGD(0.1, momentum=0.0, l2=0.5)
    before = {variable.path: ops.convert_to_numpy(variable) for variable in model.trainable_variables}
    optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        factor = 0.95 if variable.name == "kernel" else 1.0  # 1 - 0.1 * 0.5
        np.testing.assert_allclose(ops.convert_to_numpy(variable), factor * before[variable.path], rtol=1e-6)


def test_l2_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"l2 must be 0 or more. Received l2=-1"):
        CoupledSGD(l2=-1)


def test_kerass_decoupled_argument_is_refused():
    with pytest.raises(ValueError, match=r"takes l2, the coupled factor. Received weight_decay=0\.1"):
        CoupledSGD(weight_decay=0.1)
