"""AdamW and Lion: what decays, by hand; clipping of the whole gradient; updates of several batches are those of one."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization, DiracDense
from dirac_keras.training.building import build_optimizer
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fields.optimization import OPTIMIZERS
from dirac_keras.training.optimization.decoupled import DecoupledAdam, DecoupledLion
from dirac_keras.training.optimization.optimizers import CoupledSGD

KINDS = {"adamw": DecoupledAdam, "lion": DecoupledLion}
# Float32 after some steps, where 1 - 0.999 keeps four digits; a moment or a decay that is wrong is off by a percent.
ROUNDING = {"rtol": 1e-4, "atol": 3e-5}


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), DiracDense(4), BatchNormalization(), keras.layers.Dense(2)])


def small():
    """Few weights: on JAX each operation on each shape is compiled for itself."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="slow"), keras.layers.Dense(3, name="own")])


def values(model):
    return [ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def gradients_of(model, count):
    rng = np.random.default_rng(0)
    return [[rng.normal(size=w.shape).astype("float32") for w in values(model)] for _ in range(count)]


def step(model, optimizer, gradients):
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], model.trainable_variables)


def adamw(w, gradients, rate, decay):
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        w = w - rate * decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w


def lion(w, gradients, rate, decay):
    m = np.zeros_like(w)
    for g in gradients:
        w = w - rate * decay * w
        w = w - rate * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    return w


DEFINITIONS = {"adamw": adamw, "lion": lion}


@pytest.mark.parametrize("name", KINDS)
def test_step_equals_its_definition_also_after_save_and_load(name, tmp_path):
    model = small()
    rates = (("*slow", 0.5),)
    model.compile(KINDS[name](0.1, decay=0.3, rates=rates), loss="mse")
    names, start = [variable.name for variable in model.trainable_variables], values(model)
    is_slow = ["slow" in variable.path for variable in model.trainable_variables]
    gradients = gradients_of(model, 4)
    model.optimizer.build(model.trainable_variables)
    step(model, model.optimizer, gradients[:2])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    step(model, model.optimizer, gradients[2:])
    for index, found in enumerate(values(model)):
        rate = 0.05 if is_slow[index] else 0.1
        decay = 0.3 if names[index] == "kernel" else 0.0
        own = [gradient[index].astype("float64") for gradient in gradients]
        expected = DEFINITIONS[name](start[index].astype("float64"), own, rate, decay)
        np.testing.assert_allclose(found, expected, **ROUNDING)


@pytest.mark.parametrize("name", KINDS)
def test_only_kernels_decay_and_with_the_rate(name):
    model = network()
    before = values(model)
    step(model, KINDS[name](0.1, decay=0.5), [[np.zeros_like(value) for value in before]])
    for variable, value in zip(model.trainable_variables, before, strict=True):
        factor = 0.95 if variable.name == "kernel" else 1.0  # 1 - 0.1 * 0.5; Lion's sign of 0 is 0
        np.testing.assert_allclose(ops.convert_to_numpy(variable), factor * value, rtol=1e-6)


def config_of(optimizer, **fields):
    return TrainConfig(
        optimizer=optimizer, learning_rate=0.05, weight_decay=0.1, schedule="cosine", epochs=2, recipe="quick", **fields
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_of_three_batches_are_those_of_batches_three_times_as_large(optimizer):
    from dirac_keras.training.optimization.schedules import build_schedule

    few, many = small(), small()
    config = config_of(optimizer, accumulate_steps=3, clip_norm=2.0)
    parts = build_optimizer(config, build_schedule(config, 6), 6)
    config = config_of(optimizer, clip_norm=2.0)
    whole = build_optimizer(config, build_schedule(config, 2), 2)
    gradients = gradients_of(few, 6)
    before = values(few)
    step(few, parts, gradients[:2])
    assert all(np.array_equal(*pair) for pair in zip(values(few), before, strict=True)), "moved before an update"
    step(few, parts, gradients[2:])
    means = [[np.mean(group, axis=0) for group in zip(*gradients[k : k + 3], strict=True)] for k in range(0, 6, 3)]
    step(many, whole, means)
    for one, other, start in zip(values(few), values(many), before, strict=True):
        np.testing.assert_allclose(one, other, **ROUNDING)
        assert np.abs(one - start).max() > 1e-3


def test_gradient_is_scaled_by_the_norm_of_all_of_it():
    """Gradients of ones: 4 * 3 + 3 + 3 * 3 + 3 = 27 numbers, one norm for all; a smaller one is left as it is."""
    model = small()
    before = values(model)
    norm = np.sqrt(sum(value.size for value in before))
    for clip, factor in ((0.5, 0.5 / norm), (2 * norm, 1.0)):
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value)
        step(model, CoupledSGD(1.0, momentum=0.0, global_clipnorm=clip), [[np.ones_like(value) for value in before]])
        for found, value in zip(values(model), before, strict=True):
            np.testing.assert_allclose(value - found, factor, rtol=1e-5, atol=1e-6)


def test_gradient_that_is_no_number_stays_none():
    model = small()
    gradient = [np.ones_like(value) for value in values(model)]
    gradient[0][0, 0] = np.inf
    step(model, CoupledSGD(1.0, momentum=0.0, global_clipnorm=1.0), [gradient])
    assert not np.isfinite(values(model)[-1]).any()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("options", "message"), [({"weight_decay": 0.1}, "takes decay"), ({"decay": -1}, "decay must be 0 or more")]
)
def test_decay_of_another_kind_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        KINDS[name](0.1, **options)
