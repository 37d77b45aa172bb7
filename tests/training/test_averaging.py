"""The average of the weights: against its definition, in evaluation, in what is saved, and after an interruption."""

import json

import keras
import numpy as np
import pytest

from dirac_keras.files.keras_file import load_model
from dirac_keras.layers import BatchNormalization
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization import averaging
from dirac_keras.training.optimization.averaging import EvaluateAverage, refresh_statistics
from dirac_keras.training.optimization.optimizers import CoupledSGD
from pipelines import load_splits

MOMENTUM = 0.8
OPTIONS = {"data": "digits", "depth": 10, "width": 0.25, "epochs": 2, "precision": "float32", "ema_momentum": MOMENTUM}


def small_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), BatchNormalization(momentum=0.9), keras.layers.Dense(2)]
    )
    optimizer = CoupledSGD(0.1, l2=0.01, use_ema=True, ema_momentum=MOMENTUM)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def small_data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(64, 4)).astype("float32"), generator.integers(0, 2, 64)


class Recorder(keras.callbacks.Callback):
    """The trainable weights after every step, and what an evaluation sees of all weights."""

    def __init__(self):
        super().__init__()
        self.steps, self.evaluated = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables])

    def on_test_batch_end(self, batch, logs=None):
        self.evaluated.append([keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables])


def averages(steps):
    """`average <- 0.8 average + 0.2 weights`, beginning with the weights after the first step."""
    average = steps[0]
    for weights in steps[1:]:
        average = [MOMENTUM * a + (1 - MOMENTUM) * w for a, w in zip(average, weights, strict=True)]
    return average


@pytest.mark.slow
def test_evaluations_and_the_end_have_the_average_by_its_definition():
    """float32 rounding over 8 steps. Training itself must go on with its own weights: they are recorded."""
    images, labels = small_data()
    recorder, plain = Recorder(), Recorder()
    model = small_model()
    average = EvaluateAverage(lambda epoch: [(images, labels)])
    arguments = {"batch_size": 16, "shuffle": False, "verbose": 0, "validation_data": (images, labels)}
    model.fit(images, labels, epochs=2, callbacks=[average, recorder], validation_batch_size=64, **arguments)
    for seen, count in ((recorder.evaluated[0], 4), (recorder.evaluated[1], 8)):
        for mine, theirs in zip(seen, averages(recorder.steps[:count]), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(model.trainable_variables, averages(recorder.steps), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(mine), theirs, rtol=1e-5, atol=1e-6)
    other = small_model()
    other.optimizer.use_ema = False
    other.fit(images, labels, epochs=2, callbacks=[plain], **arguments)
    np.testing.assert_array_equal(recorder.steps[-1][0], plain.steps[-1][0])


def test_refreshed_statistics_are_those_of_the_weights():
    """Of one batch seen over and over: mean and variance of what the first layer makes of it. Else nothing moves."""
    images, labels = small_data()
    model = small_model()
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    refresh_statistics(model, [(images, labels)] * 150)
    hidden = keras.ops.convert_to_numpy(model.layers[0](images))
    norm = model.layers[1]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), hidden.mean(0), atol=1e-4)
    # 1.6 %: whether the variance has Bessel's correction for 64 images is the layer's affair
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_variance), hidden.var(0), rtol=0.02)
    for mine, theirs in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(mine), theirs)


@pytest.fixture(scope="module", autouse=True)
def _few_batches():
    """Enough to tell whether they are the same ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "REFRESH_BATCHES", 3)
        yield


def run(workdir, callbacks=(), **changes):
    config = TrainConfig(**{**OPTIONS, **changes})
    splits = load_splits("digits", batch_size=config.batch_size, max_train=512, max_test=100)
    return train(config, splits, workdir, callbacks=callbacks), splits


class StopAfterFirstEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise InterruptedError("as if killed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("ema") / "run")


@pytest.mark.slow
def test_last_validation_test_and_saved_model_are_of_the_same_average(finished):
    result, splits = finished
    assert result.summary["weights"] == "averaged, ema_momentum 0.8"
    assert result.history[-1]["val_accuracy"] == pytest.approx(result.summary["test_accuracy"], abs=1e-6)
    assert result.history[-1]["val_loss"] == pytest.approx(result.summary["test_loss"], rel=1e-5)
    loaded, _ = load_model(result.run.path)
    figures = loaded.evaluate(splits.test(), verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(result.summary["test_loss"], rel=1e-6)


@pytest.mark.slow
def test_interrupted_run_ends_with_the_same_average(finished, tmp_path):
    with pytest.raises(InterruptedError):
        run(tmp_path / "run", callbacks=[StopAfterFirstEpoch()])
    resumed, _ = run(tmp_path / "run")
    for mine, theirs in zip(resumed.model.get_weights(), finished[0].model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_average_in_mixed_precision(precision, tmp_path):
    """float16 wraps the optimizer in a loss scale, which hands the average on."""
    result, _ = run(tmp_path / "run", precision=precision)
    assert result.history[-1]["val_loss"] == pytest.approx(result.summary["test_loss"], rel=0.02)


def test_config_of_a_run_from_before_the_average_is_the_same_run():
    stored = json.loads(json.dumps(TrainConfig().to_dict()))
    del stored["ema_momentum"]
    assert TrainConfig.from_mapping(stored) == TrainConfig()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ema_momentum": 1.0}, r"ema_momentum must be in \[0, 1\). Received ema_momentum=1.0"),
        ({"family": "van", "ema_momentum": 0.9}, r"ema_momentum must be 0 for family=van.*Received ema_momentum=0.9"),
    ],
)
def test_average_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)
