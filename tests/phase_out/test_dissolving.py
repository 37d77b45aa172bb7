"""The identity of Dirac filters made part of ordinary weights in the middle of a training."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import fold
from dirac_keras.layers import DiracConv2D, DiracDense
from dirac_keras.phase_out import DissolveIdentity, dissolve_identity
from dirac_keras.phase_out.dissolving import tap_ratio
from dirac_keras.regularizers import LogKurtosis, LogPeak
from dirac_keras.training.config import TrainConfig
from tests.phase_out.runs import RUN
from tests.run_checks import KillAfter, Killed, assert_same_run, train_fields


def numbers(variable):
    return np.array(ops.convert_to_numpy(variable))


def one_layer(learning_rate=0.0, **options):
    model = keras.Sequential([keras.Input((5, 5, 3)), DiracConv2D(3, 3, padding="same", name="dirac", **options)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    return model, model.get_layer("dirac")


def test_kurtosis_of_a_filter_by_hand():
    """Of 2 values of either sign 1, of one among n zeros `(n^2 - 3 n + 3) / (n - 1)`: for n = 4, 7/3."""
    kernel = np.array([[1.0, 0, 5, 2], [-1, 0, 5, -2], [1, 4, 5, -2], [-1, 0, 5, 2]], "float32")
    term = LogKurtosis(2.0)(kernel)
    np.testing.assert_allclose(ops.convert_to_numpy(term), 2 * np.log(7 / 3) / 4, rtol=1e-5)
    again = LogKurtosis.from_config(LogKurtosis(2.0).get_config())
    assert again.weight == 2.0


def test_peak_of_a_filter_by_hand():
    """Of one weight among 4 it is 4, of equal ones 1, of (3, 4, 0, 0) 64/25; a filter of zeros adds nothing."""
    kernel = np.array([[2.0, 1, 3, 0], [0, -1, 4, 0], [0, 1, 0, 0], [0, 1, 0, 0]], "float32")
    term = LogPeak(2.0)(kernel)
    np.testing.assert_allclose(ops.convert_to_numpy(term), 2 * (np.log(4) + np.log(64 / 25)) / 4, rtol=1e-6)
    assert LogPeak.from_config(LogPeak(2.0).get_config()).weight == 2.0


@pytest.mark.parametrize("term", [LogKurtosis, LogPeak])
@pytest.mark.parametrize("weight", [-1, float("nan"), "much"])
def test_weight_that_is_no_number_is_refused(term, weight):
    with pytest.raises(ValueError, match="weight must be a number of 0 or more"):
        term(weight)


def test_function_stays_the_same():
    model, layer = one_layer()
    layer.identity_scale.assign([0.7, -1.2, 1.0])
    layer.filter_scale.assign([0.3, 0.1, -0.4])
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    before, kernel = model.predict(images, verbose=0), numbers(layer.effective_kernel())
    assert dissolve_identity(model) == 1
    np.testing.assert_array_equal(numbers(layer.kernel), kernel)
    assert not numbers(layer.identity_scale).any()
    # One normalisation and its inverse, in float32.
    np.testing.assert_allclose(model.predict(images, verbose=0), before, rtol=1e-5, atol=1e-5)
    assert dissolve_identity(model) == 0, "a second time changes nothing"


def test_identity_is_gone_from_its_epoch_on_and_the_kernel_trains():
    model, layer = one_layer(learning_rate=0.05)
    images = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype("float32")
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            same = self.model.get_layer("dirac")  # on JAX `self.model` is up to date
            seen.append((numbers(same.identity_scale), numbers(same.kernel)))

    callbacks = [DissolveIdentity(2, kurtosis=0.0), Watch()]
    history = model.fit(images, -images, batch_size=2, epochs=4, verbose=0, callbacks=callbacks).history
    assert all(scale.all() for scale, _ in seen[:4])
    assert not any(scale.any() for scale, _ in seen[4:])
    assert np.abs(seen[-1][1] - seen[4][1]).max() > 1e-3
    assert history["loss"][-1] < history["loss"][1] < history["loss"][0]
    assert history["tap_ratio"][-1] == pytest.approx(tap_ratio([layer]))
    assert layer.identity_scale.constraint is None and layer.kernel.regularizer is None


@pytest.mark.slow
def test_penalty_spreads_the_tap_and_is_no_part_of_the_loss():
    """With a cost that is 0 whatever the network does, the penalty alone moves the weights."""
    ratios = {}
    for penalties in ((0.0, 0.0), (0.5, 0.0), (0.0, 4.0)):
        keras.utils.set_random_seed(0)
        model, layer = one_layer()
        model.compile(keras.optimizers.SGD(0.1), loss=lambda y, p: 0.0 * ops.mean(p, axis=(1, 2, 3)))
        callbacks = [DissolveIdentity(0, *penalties)]
        history = model.fit(np.ones((40, 5, 5, 3)), np.ones(40), batch_size=1, verbose=0, callbacks=callbacks).history
        assert history["loss"] == [0.0]
        ratios[penalties] = tap_ratio([layer])
        assert layer.kernel.regularizer is None
    neither, kurtosis, peak = ratios.values()
    assert neither > 4.5, "an identity tap among 27"
    assert kurtosis < 0.8 * neither and peak < 0.8 * neither, "the peak has a flat spot where one weight is alone"


@pytest.mark.slow
def test_momentum_of_the_weights_before_is_forgotten():
    """The second epoch's one step is that of plain SGD: what the first has left is of other weights."""
    images = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype("float32")
    kernels = []
    for momentum in (0.0, 0.9):
        keras.utils.set_random_seed(0)
        model, layer = one_layer(use_bias=False)
        model.compile(keras.optimizers.SGD(0.0, momentum=momentum), "mse")
        seen = []

        class Rate(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.optimizer.learning_rate = 0.1 if epoch else 1e-6
                seen.append({slot.name: numbers(slot) for slot in self.model.optimizer.variables})  # noqa: B023

        model.fit(images, images, epochs=2, verbose=0, callbacks=[DissolveIdentity(1, 0.0), Rate()])
        assert not any(np.any(value) for name, value in seen[1].items() if "momentum" in name)
        kernels.append(numbers(layer.kernel))
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-4)


def test_penalty_waits_for_the_epoch():
    model, layer = one_layer(learning_rate=0.1)
    model.compile(keras.optimizers.SGD(0.1), loss=lambda y, p: 0.0 * ops.mean(p, axis=(1, 2, 3)))
    kernel = numbers(layer.kernel)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    callbacks = [DissolveIdentity(1, 0.5), stop]
    model.fit(np.ones((4, 5, 5, 3)), np.ones(4), batch_size=1, epochs=2, verbose=0, callbacks=callbacks)
    np.testing.assert_array_equal(numbers(layer.kernel), kernel)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch": 1.5}, "epoch must be a whole number of 0 or more. Received epoch=1.5"),
        ({"epoch": -1}, "epoch must be a whole number of 0 or more"),
        ({"epoch": 0, "kurtosis": -1}, "kurtosis must be a number of 0 or more"),
        ({"epoch": 0, "peak": -1}, "peak must be a number of 0 or more"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        DissolveIdentity(**arguments)


def refused(model, callback, message):
    shape = (4, *model.input_shape[1:])
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones(shape), np.ones((4, *model.output_shape[1:])), verbose=0, callbacks=[callback])


def test_models_and_trainings_that_do_not_fit_are_refused():
    refused(
        one_layer()[0], DissolveIdentity(1), "must dissolve before the training ends. Received epoch=1 and epochs=1"
    )
    refused(one_layer(use_weight_norm=False)[0], DissolveIdentity(0), "layers of eq. 5.*'dirac', which has")
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    plain.compile("sgd", "mse")
    refused(plain, DissolveIdentity(0), "must have a trainable Dirac layer")
    averaged = keras.Sequential([keras.Input((2,)), DiracDense(2)])
    averaged.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    refused(averaged, DissolveIdentity(0), "cannot dissolve in averaged weights")


FIELDS = {**RUN, "dissolve_epoch": 1}


@pytest.mark.slow
def test_a_run_dissolves_and_resumes_to_the_same_weights(tmp_path):
    whole = train_fields({**FIELDS, "kurtosis_penalty": 0.1}, tmp_path / "whole")
    fields = {**FIELDS, "kurtosis_penalty": 0.1, "checkpoint_steps": 1}
    for step in (4, 5):  # what is saved before is of the end of an epoch, then of the one that began by dissolving
        with pytest.raises(Killed):
            train_fields(fields, tmp_path / "killed", callbacks=[KillAfter(step=step)])
    assert_same_run(train_fields(fields, tmp_path / "killed"), whole)
    layers = [layer for layer in whole.model.layers if isinstance(layer, DiracConv2D)]
    assert not any(numbers(layer.identity_scale).any() for layer in layers)
    ratios = [row["tap_ratio"] for row in whole.history]
    assert ratios[0] > ratios[1] > ratios[2]
    folded, _ = fold(whole.model)
    assert not any(isinstance(layer, DiracConv2D) for layer in folded.layers)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dissolve_epoch": 3}, "dissolve_epoch must be 0 or more and below epochs"),
        ({"dissolve_epoch": 1.5}, "dissolve_epoch must be a whole number"),
        ({"kurtosis_penalty": -0.1}, "kurtosis_penalty must be 0 or more"),
        ({"peak_penalty": -0.1}, "peak_penalty must be 0 or more"),
        ({"parameterization": "plain"}, "dissolve_epoch needs kernels whose W is normalised"),
        ({"identity_bound": 0.5}, "dissolve_epoch and identity_bound exclude each other"),
        ({"ema_momentum": 0.9}, "ema_momentum must be 0 beside dissolve_epoch"),
        ({"family": "wide_resnet"}, "dissolve_epoch is a field of family=diracnet"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**FIELDS, **fields})
