import keras
import numpy as np
import pytest

from dirac_keras.diagnostics import Diagnostics, measure
from dirac_keras.models import build_plainnet

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def fit():
    """Trains a small network with the callback and returns the model."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4, 4, 1)).astype("float32"), rng.integers(0, 10, 64)

    def run(callback, epochs=2):
        keras.utils.set_random_seed(0)
        model = build_plainnet(depth=3, units=8, input_shape=(4, 4, 1))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, callbacks=[] if callback is None else [callback])
        return model

    run.data = (x, y)
    return run


def events(folder):
    """`{tag: [steps]}` of all that TensorBoard finds in a folder."""
    found = {}
    for path in folder.glob("events*"):
        for record in tf.compat.v1.train.summary_iterator(str(path)):
            for value in record.summary.value:
                found.setdefault(value.tag, []).append(record.step)
    return found


@pytest.mark.slow
def test_it_writes_scalars_histograms_and_pictures(fit, tmp_path):
    fit(Diagnostics(fit.data, every_epochs=2, log_dir=tmp_path), epochs=4)
    written = events(tmp_path)
    for tag in ("diagnostics/rank/dense2", "diagnostics/unit_means/dense2", "diagnostics/singular_values/dense2",
                "diagnostics/rank"):  # fmt: skip
        assert written[tag] == [0, 2, 4], tag


@pytest.mark.slow
def test_it_measures_what_measure_does(fit):
    callback = Diagnostics(fit.data, max_images=32)
    model = fit(callback)
    x, y = fit.data
    expected = measure(model, (x[:32], y[:32])).to_dict()
    latest = callback.latest.to_dict()
    assert {**latest, "seconds": 0} == {**expected, "seconds": 0}


def test_training_is_not_changed(fit):
    with_it, without = fit(Diagnostics(fit.data)), fit(None)
    for one, other in zip(with_it.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_cost_is_bounded(fit):
    callback = Diagnostics(fit.data, max_images=64, max_seconds=1e-6)
    fit(callback, epochs=4)
    assert len(callback.seconds) == 5  # before the first epoch, and after each
    assert callback.latest.samples == 8  # the first is free; after three too long ones: 64, 64, 32, 16, 8


@pytest.mark.slow
def test_streams_of_batches_are_cut_at_the_image(fit):
    x, y = fit.data
    batches = [(x[k : k + 10], y[k : k + 10]) for k in range(0, 60, 10)]
    callback = Diagnostics(batches, max_images=25)
    fit(callback)
    assert callback.latest.samples == 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_epochs": 0}, r"every_epochs must be a whole number of 1 or more. Received every_epochs=0"),
        ({"max_images": 1}, r"max_images must be a whole number of 2 or more"),
        ({"max_seconds": -1}, r"max_seconds must be a number above 0, or None. Received max_seconds=-1"),
        ({"quantites": ("weights",)}, r"the arguments of measure\(\). Received quantites, which is none"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        Diagnostics(None, **arguments)


def test_generator_is_refused_before_the_training():
    with pytest.raises(ValueError, match=r"must start anew at every iteration\. Received a generator"):
        Diagnostics(batch for batch in ())
