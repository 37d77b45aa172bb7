import json
import logging
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras import SkipPhaseOut
from dirac_keras.files.tables import read_table
from dirac_keras.layers import VariableSkip, add_variable_skip
from dirac_keras.phase_out import SkipMonitor, SkipTrace, find_skips, mean_residual, measure_skips, seal_skips
from dirac_keras.training.optimization.optimizers import CoupledSGD
from tests.layer_checks import check_layer

IS_JAX = keras.backend.backend() == "jax"
STATE = ["multiplier", "dual_rate", "due_rate", "ramp", "step"]
# Of a network that is one skip, with the cost sum((1 - alpha) x): dC/dalpha = -x. All numbers are exact in bfloat16.
X = np.array([[0.5, -1.0, 16.0, -5.0]], "float32")
LEARNING_RATE, MOMENTUM, FRACTION = 0.1, 0.5, 0.5


def total(_, outputs):
    return ops.sum(ops.cast(outputs, "float32"), axis=-1)


def one_skip(learning_rate=LEARNING_RATE, steps_per_execution=1, **options):
    model = keras.Sequential([keras.Input((X.shape[1],)), VariableSkip(name="skip", **options)])
    optimizer = keras.optimizers.SGD(learning_rate, momentum=MOMENTUM)
    model.compile(optimizer, total, steps_per_execution=steps_per_execution)
    return model


def fit(model, steps, callbacks, epochs=1, **options):
    x = np.repeat(X, steps, axis=0)
    return model.fit(x, np.zeros(steps), batch_size=1, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def phase_out(**options):
    return SkipPhaseOut(FRACTION, seal=False, **options)


def alpha_of(layer):
    return ops.convert_to_numpy(layer.alpha)


def multiplier_of(layer):
    return ops.convert_to_numpy(layer.multiplier)


def by_definition(rates, multiplier=-1.0, fraction=FRACTION):
    """Eq. 7, then eq. 8, in float64, the alpha of eq. 8 being eq. 7's: `(alpha, lambda)` after each step."""
    alpha, velocity, history = np.zeros(X.shape[1]), np.zeros(X.shape[1]), []
    multiplier = np.full(X.shape[1], multiplier)
    for rate in rates:
        velocity = MOMENTUM * velocity - rate * (-X[0] + multiplier)
        alpha = np.clip(alpha + velocity, 0.0, 1.0)
        multiplier = multiplier + fraction * rate * (alpha - 1.0)
        history.append((alpha, multiplier))
    return history


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_three_steps_are_those_worked_by_hand(policy):
    """eta 0.1, momentum 0.5, eta' 0.05. First unit, dC/dalpha = -0.5:

    gradient -1.5    velocity 0.15        alpha 0.15        lambda -1.0425
    gradient -1.5425 velocity 0.22925     alpha 0.37925     lambda -1.0735375
    gradient -1.5735375 velocity 0.27197875 alpha 0.65122875 lambda -1.0909760625

    Second, dC/dalpha = 1: the gradient is 0, then -0.05, then -0.09975. The third is clipped to 1 at once, where
    lambda rests; the fourth stays at 0, where lambda falls by 0.05 a step. Eq. 8 of the third step is carried out
    when the fourth begins.
    """
    keras.config.set_dtype_policy(policy)
    model = one_skip()
    layer = model.layers[0]
    fit(model, 3, [phase_out()])
    np.testing.assert_allclose(alpha_of(layer), [0.65122875, 0.017475, 1.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(multiplier_of(layer), [-1.0735375, -1.09975, -1.0, -1.1], rtol=1e-6)
    fit(model, 1, [phase_out()])
    np.testing.assert_allclose(multiplier_of(layer), [-1.0909760625, -1.14887625, -1.0, -1.15], rtol=1e-6)
    dtypes = {weight.name: weight.dtype for weight in layer.weights}
    assert {dtypes[name] for name in ("alpha", "multiplier", "dual_rate", "due_rate", "ramp")} == {"float32"}


def test_first_step_has_the_start_value_of_lambda_although_a_rate_is_set():
    model = one_skip(dual_rate=0.05)
    fit(model, 1, [])
    np.testing.assert_array_equal(multiplier_of(model.layers[0]), -1.0)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_dual_rate_follows_a_schedule_within_an_epoch(steps_per_execution):
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.05, 0.05, 0.05]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.01, 0.05])
    model = one_skip(schedule, steps_per_execution)
    fit(model, 9, [phase_out()])
    expected = by_definition(rates)
    np.testing.assert_allclose(alpha_of(model.layers[0]), expected[8][0], rtol=1e-5)
    np.testing.assert_allclose(multiplier_of(model.layers[0]), expected[7][1], rtol=1e-6)
    np.testing.assert_allclose(float(model.layers[0].due_rate), FRACTION * 0.05, rtol=1e-6)


def test_dual_rate_follows_a_rate_that_another_callback_sets():
    model = one_skip(0.1)
    by_epoch = keras.callbacks.LearningRateScheduler(lambda epoch: [0.1, 0.01][epoch])
    fit(model, 3, [phase_out(), by_epoch], epochs=2)
    expected = by_definition([0.1] * 3 + [0.01] * 3)
    np.testing.assert_allclose(multiplier_of(model.layers[0]), expected[4][1], rtol=1e-6)


@pytest.mark.slow
def test_callback_works_on_a_model_that_was_trained_before():
    """The step compiled without the callback knows no timetable; the one after it must not go on with it."""
    model = one_skip(keras.optimizers.schedules.CosineDecay(0.1, 100))
    fit(model, 2, [])
    np.testing.assert_array_equal(multiplier_of(model.layers[0]), -1.0)
    fit(model, 3, [phase_out()])
    assert model.layers[0].timetable is None
    assert (multiplier_of(model.layers[0])[[0, 1, 3]] < -1.0).all()


@pytest.mark.slow
def test_interrupted_training_equals_the_uninterrupted_one(tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.05, 0.02])
    whole, first = one_skip(schedule), one_skip(schedule)
    fit(whole, 4, [phase_out(start_epoch=0.5, end_epoch=1.5)], epochs=2)
    fit(first, 4, [Stop(), phase_out(start_epoch=0.5, end_epoch=1.5)], epochs=2)
    first.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"total": total})
    for name in ("alpha", *STATE):
        saved, again = getattr(first.layers[0], name), getattr(loaded.layers[0], name)
        np.testing.assert_array_equal(ops.convert_to_numpy(again), ops.convert_to_numpy(saved), err_msg=name)
    fit(loaded, 4, [phase_out(start_epoch=0.5, end_epoch=1.5)], epochs=2, initial_epoch=1)
    for one, other in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6)  # exact but for the order of compiled sums


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


@pytest.mark.parametrize("training", [True, False])
def test_reported_loss_is_the_cost_alone(training):
    """Cost of alpha = 0.25: 0.75 * sum(x) = 7.875; the Lagrangian would add -1 * 4 * (0.25 - 1) = 3."""
    model = one_skip(alpha_initializer=keras.initializers.Constant(0.25))
    state = measure_skips(model)["skip"]
    history = fit(model, 1, []).history["loss"] if training else [model.evaluate(X, np.zeros(1), verbose=0)]
    assert history == pytest.approx([7.875], rel=1e-6)
    assert state.lagrangian == pytest.approx(3.0)
    assert state.residual == pytest.approx(0.75**2)


def test_logs_have_the_residual_the_lagrangian_and_every_layer(tmp_path):
    model = residual_network()
    table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    history = model.fit(*data(), epochs=2, verbose=0, callbacks=[phase_out(), table]).history
    states = measure_skips(model)
    assert history["skip_residual"][-1] == mean_residual(states)
    assert history["lagrangian"][-1] == sum(state.lagrangian for state in states.values())
    assert history["alpha/block2_skip"][-1] == states["block2_skip"].alpha
    assert history["multiplier/block1_skip"][-1] == states["block1_skip"].multiplier
    assert "multiplier/block2_skip" in (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()[0]


def residual_network(units=4, blocks=2, **options):
    inputs = x = keras.Input((units,))
    for block in range(1, blocks + 1):
        residual = layers.Dense(units, name=f"block{block}_dense")(layers.ReLU()(x))
        x = add_variable_skip(residual, x, name=f"block{block}", **options)
    return keras.Model(inputs, layers.Dense(2)(x))


def data(count=32, units=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, units)).astype("float32"), rng.normal(size=(count, 2)).astype("float32")


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (4, 6)), ({}, (2, 5, 5, 3)), ({"axis": (1, 2, -1)}, (2, 5, 4, 3)), ({"axis": 1}, (2, 3, 4))],
)
def test_layer_keeps_the_contract(options, shape, tmp_path):
    check_layer(lambda: VariableSkip(**options), shape, shape, ["alpha", *STATE], tmp_path)


def test_alpha_is_per_channel_or_per_unit():
    per_channel, per_unit = VariableSkip(), VariableSkip(axis=(1, 2, 3))
    for layer in (per_channel, per_unit):
        layer.build((None, 5, 4, 3))
    assert per_channel.alpha.shape == (3,) and per_unit.alpha.shape == (5, 4, 3)
    per_channel.alpha.assign([0.0, 0.25, 1.0])
    outputs = ops.convert_to_numpy(per_channel(np.ones((1, 5, 4, 3), "float32")))
    np.testing.assert_array_equal(outputs[0, 2, 3], [1.0, 0.75, 0.0])


def test_inference_and_frozen_layers_leave_lambda_alone():
    model = one_skip(dual_rate=0.05)
    fit(model, 2, [])
    before = multiplier_of(model.layers[0])
    model.predict(X, verbose=0)
    model.evaluate(X, np.zeros(1), verbose=0)
    model.layers[0].trainable = False
    model.layers[0](X, training=True)
    np.testing.assert_array_equal(multiplier_of(model.layers[0]), before)


def test_weight_decay_does_not_touch_alpha():
    layer = VariableSkip(alpha_initializer=keras.initializers.Constant(0.5))
    layer.build((None, 4))
    CoupledSGD(0.1, l2=0.5).apply([ops.zeros((4,))], layer.trainable_variables)
    np.testing.assert_array_equal(alpha_of(layer), 0.5)


def test_unconstrained_skip_is_trained_by_the_cost_alone():
    model = one_skip(constrained=False)
    fit(model, 3, [SkipMonitor()])
    expected = by_definition([0.1] * 3, multiplier=0.0, fraction=0.0)
    np.testing.assert_allclose(alpha_of(model.layers[0]), expected[2][0], rtol=1e-6)
    np.testing.assert_array_equal(multiplier_of(model.layers[0]), 0.0)


def test_before_its_start_a_phase_out_leaves_a_residual_network():
    """Two epochs of 3 steps without alpha, then the paper's three steps."""
    model = one_skip()
    residuals = fit(model, 3, [phase_out(start_epoch=2)], epochs=3).history["skip_residual"]
    assert residuals[:2] == [1.0, 1.0]
    np.testing.assert_allclose(alpha_of(model.layers[0]), by_definition([0.1] * 3)[2][0], rtol=1e-6)
    np.testing.assert_allclose(multiplier_of(model.layers[0]), by_definition([0.1] * 3)[1][1], rtol=1e-6)


def test_a_phase_out_until_an_epoch_takes_alpha_in_evenly():
    """From epoch 1 to 3 of 4 steps each: half of alpha counts after epoch 2, all of it after epoch 3."""
    model = one_skip(0.0, alpha_initializer="ones")
    residuals = fit(model, 4, [phase_out(start_epoch=1, end_epoch=3)], epochs=4).history["skip_residual"]
    assert residuals == [1.0, 0.25, 0.0, 0.0]


def test_skips_within_the_tolerance_are_sealed_and_others_are_named(caplog):
    model = residual_network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    first, second = find_skips(model).values()
    first.alpha.assign(np.full(4, 0.995, "float32"))
    second.alpha.assign(np.array([1.0, 1.0, 1.0, 0.5], "float32"))
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        model.fit(*data(), verbose=0, callbacks=[SkipPhaseOut()])
    np.testing.assert_array_equal(alpha_of(first), 1.0)
    np.testing.assert_array_equal(alpha_of(second), [1.0, 1.0, 1.0, 0.5])
    assert "1 of 2 skips" in caplog.text and "'block2_skip' (1 - alpha up to 0.5)" in caplog.text
    assert "block1_skip" not in caplog.text


def test_sealing_on_request_is_all_or_nothing():
    model = residual_network()
    first, second = find_skips(model).values()
    first.alpha.assign(np.ones(4, "float32"))
    with pytest.raises(ValueError, match=r"must be gone before they are sealed.*'block2_skip' \(1 - alpha up to 1\)"):
        seal_skips(model)
    second.alpha.assign(np.full(4, 0.9, "float32"))
    seal_skips(model, tolerance=0.11)
    np.testing.assert_array_equal(alpha_of(second), 1.0)


def test_skips_of_nested_models_are_found():
    inner = residual_network()
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs))
    assert list(find_skips(model)) == [f"{inner.name}/block1_skip", f"{inner.name}/block2_skip"]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(*data(), verbose=0, callbacks=[phase_out()])
    assert [float(layer.dual_rate) for layer in find_skips(model).values()] == pytest.approx([0.05, 0.05])


def fit_with(callback, model=None, epochs=2, **options):
    if model is None:
        model = residual_network()
    model.compile(keras.optimizers.SGD(0.1, **options), "mse")
    model.fit(*data(), epochs=epochs, verbose=0, callbacks=[callback])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkipPhaseOut(-0.5), r"fraction must be a number of 0 or more. Received fraction=-0.5"),
        (lambda: SkipPhaseOut(start_epoch=-1), r"start_epoch must be a number of 0 or more. Received start_epoch=-1"),
        (lambda: SkipPhaseOut(tolerance="x"), r"tolerance must be a number of 0 or more. Received tolerance='x'"),
        (
            lambda: SkipPhaseOut(start_epoch=3, end_epoch=3),
            r"end_epoch must be above start_epoch. Received start_epoch=3",
        ),
        (lambda: fit_with(SkipPhaseOut(end_epoch=3)), r"must fit into the training.*end_epoch=3 and epochs=2"),
        (lambda: fit_with(SkipPhaseOut(start_epoch=2)), r"must fit into the training.*start_epoch=2"),
        (
            lambda: fit_with(SkipPhaseOut(), keras.Sequential([keras.Input((4,)), layers.Dense(2, name="d")])),
            r"must have a VariableSkip layer. Received 'sequential",
        ),
        (
            lambda: fit_with(SkipPhaseOut(), residual_network(constrained=False)),
            r"whose skips have lambda = 0 or are frozen",
        ),
        (
            lambda: fit_with(SkipPhaseOut(), gradient_accumulation_steps=2),
            r"cannot be accumulated over batches. Received gradient_accumulation_steps=2",
        ),
        (lambda: VariableSkip(dual_rate=-1), r"dual_rate must be a number of 0 or more. Received dual_rate=-1"),
        (lambda: VariableSkip(name="s").build((None, None)), r"'s' needs a known size on axis -1"),
        (lambda: VariableSkip(name="s", axis=0).build((None, 3)), r"'s': axis must name axes.*beside the batch"),
        (
            lambda: add_variable_skip(keras.Input((8, 8, 4)), keras.Input((8, 8, 1)), name="block7"),
            r"'block7_skip' must have the shape.*residual of shape \(None, 8, 8, 4\) and a skip of shape "
            r"\(None, 8, 8, 1\); project the skip by a dense layer",
        ),
        (lambda: seal_skips(keras.Sequential([keras.Input((4,)), layers.ReLU()])), r"must have a VariableSkip layer"),
    ],
)
def test_mistake_gets_a_message_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# What the refused layer holds, Keras then looks for a second time, by way of the model's lists of operations.
@pytest.mark.filterwarnings("ignore:Skipping nested container at '_operations_by_depth:UserWarning")
@pytest.mark.parametrize("wrong", [1.5, -0.25, np.nan])
def test_alpha_outside_the_unit_interval_in_a_file_is_refused(wrong, tmp_path):
    model = residual_network()
    find_skips(model)["block2_skip"].alpha.assign(np.array([0.0, wrong, 1.0, 0.5], "float32"))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"alpha of VariableSkip 'block2_skip' must be in \[0, 1\].*1 values outside"):
        keras.models.load_model(tmp_path / "model.keras")


TRAIN = """
import json, sys, keras, numpy as np
from dirac_keras import SkipPhaseOut
data = np.load(sys.argv[1] + "/data.npz")
def train(model, batch_size=8):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 20)
    model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse")
    callbacks = [SkipPhaseOut(0.5, start_epoch=0.5, end_epoch=2, seal=False)]
    history = model.fit(data["x"], data["y"], batch_size=batch_size, epochs=3, shuffle=False, verbose=0,
                        callbacks=callbacks).history
    weights = {w.path: keras.ops.convert_to_numpy(w).tolist() for w in model.weights}
    return {"weights": weights, "loss": history["loss"], "residual": history["skip_residual"]}
"""


def run_elsewhere(tmp_path, code, **environment):
    model = residual_network()
    model.save(tmp_path / "model.keras")
    x, y = data()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", TRAIN + code, str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def assert_same_training(one, other, tolerance):
    for path, value in one["weights"].items():
        np.testing.assert_allclose(other["weights"][path], value, rtol=tolerance, atol=tolerance, err_msg=path)
    np.testing.assert_allclose(other["loss"], one["loss"], rtol=tolerance)
    np.testing.assert_allclose(other["residual"], one["residual"], rtol=tolerance, atol=tolerance)
    assert one["residual"][0] > one["residual"][1], "nothing was phased out, so nothing was tested"


@pytest.mark.slow
def test_jax_equals_tensorflow(tmp_path):
    pytest.importorskip("jax")
    code = 'print(json.dumps(train(keras.models.load_model(sys.argv[1] + "/model.keras"))))'
    there = run_elsewhere(tmp_path, code, KERAS_BACKEND="tensorflow" if IS_JAX else "jax")
    scope = {"__name__": "train"}
    exec(TRAIN.replace("sys.argv[1]", repr(str(tmp_path))), scope)
    here = scope["train"](keras.models.load_model(tmp_path / "model.keras"))
    assert_same_training(here, there, 1e-5)  # float32 sums in another order, 12 steps


@pytest.mark.skipif(IS_JAX, reason="TensorFlow's distribution")
@pytest.mark.slow
def test_two_replicas_equal_one_device(tmp_path):
    code = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice())
def load():
    return keras.models.load_model(sys.argv[1] + "/model.keras")
one = train(load())
with strategy.scope():
    model = load()
    two = train(model)
skip = model.get_layer("block2_skip")
copies = [[v.numpy().tolist() for v in w.value.values] for w in (skip.alpha, skip.multiplier, skip.step)]
print(json.dumps([one, two, copies]))
"""
    one, two, copies = run_elsewhere(tmp_path, code)
    assert_same_training(one, two, 1e-5)
    for first, second in copies:
        np.testing.assert_array_equal(first, second)


def test_trace_measures_every_step_first_and_then_a_twentieth_apart(tmp_path):
    trace = SkipTrace(tmp_path / "skips.csv", tmp_path / "skips.png")
    trace.set_model(one_skip())
    trace.on_train_begin()
    for epoch in range(2):
        trace.on_epoch_begin(epoch)
        for batch in range(30):
            trace.on_train_batch_end(batch)
        trace.on_epoch_end(epoch)
    # by hand: behind step 40 the distance is 40 // 20 = 2
    assert [row["step"] for row in read_table(tmp_path / "skips.csv")] == [*range(41), *range(42, 61, 2)]
