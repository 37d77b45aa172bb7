"""Labels and values, from arrays to a served network; the figures by hand."""

import json

import keras
import numpy as np
import pytest

from dirac_keras.deployment.heads import find_head
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import load_model
from dirac_keras.training import TrainConfig, train
from dirac_keras.training.best import monitored
from dirac_keras.training.tasks import ExactMatch, LogitF1, ScaledSquaredError, exact_figures
from pipelines import from_arrays
from tests.labelled import drawn

OPTIONS = {
    "family": "plainnet",
    "recipe": "plainnet",
    "depth": 2,
    "units": 16,
    "batch_size": 16,
    "precision": "float32",
}
NAMES = ["top", "<img src=x onerror=alert(1)>", "left"]


def splits_of(train, test, **options):
    options = {"batch_size": 16, "augmentation": "none", **options}
    return from_arrays(train, test, **options)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A run on labels, its folder and data."""
    folder = tmp_path_factory.mktemp("labels") / "run"
    splits = splits_of(drawn(), drawn(40, seed=1), class_names=NAMES)
    config = TrainConfig(data="arrays", epochs=8, learning_rate=0.02, **OPTIONS)
    return train(config, splits, folder), folder, splits


def test_a_network_learns_labels_and_its_summary_has_their_figures(labelled):
    result, folder, splits = labelled
    assert result.summary["test_f1_macro"] > 0.9 and result.summary["test_mean_average_precision"] > 0.9
    assert "test_accuracy" not in result.summary
    outputs = np.concatenate([result.model.predict(images, verbose=0) for images, _ in first(splits)])
    truth = drawn(40, seed=1)[1]
    assert result.summary["test_exact_match"] == pytest.approx(np.mean(((outputs > 0) == truth).all(1)))
    tp = ((outputs > 0) & (truth > 0)).sum()
    micro = 2 * tp / ((outputs > 0).sum() + truth.sum())
    assert result.summary["test_f1_micro"] == pytest.approx(micro, abs=1e-6)
    assert json.loads((folder / "summary.json").read_text())["test_f1_micro"] == result.summary["test_f1_micro"]
    assert load_model(folder / "model.keras")[1]["data"]["task"] == "labels"
    assert {"f1_macro", "val_exact_match"} <= set(result.history[0])


def first(splits):
    stream = splits.test()
    return [stream[k] for k in range(len(stream))] if hasattr(stream, "num_batches") else list(stream)


def test_a_finished_run_on_labels_is_read_and_its_probabilities_are_sigmoids(labelled):
    result, folder, splits = labelled
    again = train(TrainConfig(data="arrays", epochs=8, learning_rate=0.02, **OPTIONS), splits, folder)
    assert again.summary == result.summary
    head = find_head(result.model, task="labels")
    logits = np.array([[0.0, np.log(3), -np.log(3)]])
    np.testing.assert_allclose(head.probabilities(logits), [[0.5, 0.75, 0.25]])
    with pytest.raises(UserError, match="a softmax over 3 labels"):
        find_head(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]), task="labels")


def test_a_network_learns_values_in_their_own_units(tmp_path):
    (images, labels), (others, theirs) = drawn(), drawn(40, seed=1)
    weights = np.array([300.0, -120.0, 40.0])  # of a scale on which no learning rate of ours would converge
    splits = splits_of((images, labels @ weights + 5000), (others, theirs @ weights + 5000), class_names=["grams"])
    config = TrainConfig(data="arrays", epochs=12, learning_rate=0.02, **OPTIONS)
    result = train(config, splits, tmp_path / "run")
    assert result.summary["test_r2"] > 0.9 and 0 < result.summary["test_mae"] < 60
    assert abs(result.model.predict(first(splits)[0][0], verbose=0).mean() - 5000) < 300
    _, metadata = load_model(tmp_path / "run" / "model.keras")
    assert metadata["data"]["task"] == "values" and metadata["data"]["value_std"] == list(splits.spec.value_std)


@pytest.mark.parametrize("names, figure", [(["grams"], "val_mae"), (["grams", "degrees"], "val_loss")])
def test_epochs_are_judged_by_the_loss_where_values_have_several_units(names, figure):
    images, labels = drawn()
    values = labels[:, : len(names)] * 2.5
    test = images[:9], values[:9]
    splits = splits_of((images, values), test, task="values", class_names=names, validation=0.1)
    config = TrainConfig(data="arrays", epochs=1, early_stopping=1, validation=0.1, **OPTIONS)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(len(names))])
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanAbsoluteError(name="mae")])
    model.build((None, 4))
    assert monitored(config, model, splits) == figure


@pytest.mark.slow
def test_a_run_on_labels_resumes_in_the_middle_of_an_epoch(tmp_path):
    from tests.run_checks import KillAfter, Killed, assert_same_run

    splits = splits_of(drawn(64), drawn(20, seed=1))
    config = TrainConfig(data="arrays", epochs=2, learning_rate=0.02, checkpoint_steps=1, **OPTIONS)
    whole = train(config, splits, tmp_path / "whole")
    with pytest.raises(Killed):
        train(config, splits, tmp_path / "killed", callbacks=[KillAfter(step=6)])
    assert_same_run(train(config, splits, tmp_path / "killed"), whole)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="steps are one program on JAX")
def test_labels_that_lie_on_the_device_train_as_those_of_a_stream(tmp_path):
    splits = splits_of(drawn(64), drawn(20, seed=1))
    config = TrainConfig(data="arrays", epochs=1, learning_rate=0.02, **OPTIONS)
    streamed = train(config, splits, tmp_path / "stream", data_on_device="no")
    cut = train(config, splits, tmp_path / "device", data_on_device="yes", steps_per_execution=3)
    for mine, theirs in zip(cut.model.get_weights(), streamed.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)  # one program rounds otherwise
    assert cut.summary["test_f1_micro"] == pytest.approx(streamed.summary["test_f1_micro"])


def test_metrics_of_logits_are_those_by_hand():
    truth = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
    logits = np.array([[2.0, -1], [1, -1], [1, 3], [-1, -2]], "float32")  # given: 10, 10, 11, 00
    macro, micro, match = LogitF1("macro"), LogitF1("micro"), ExactMatch()
    for metric in (macro, micro, match):
        metric.update_state(truth, logits)
    # Label 0: 2 right of 3 given and 2 true, F1 0.8; label 1: 1 of 1 given and 2 true, F1 2/3.
    assert float(macro.result()) == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-6)
    assert float(micro.result()) == pytest.approx(2 * 3 / (4 + 4), abs=1e-6)
    assert float(match.result()) == 0.5
    figures = exact_figures("labels", logits, truth, ["a", "b"])
    assert figures["test_f1_macro"] == pytest.approx(float(macro.result()))
    # Label 0 by falling logit: 1, then (1, 0) of equal logits: 1/2 * 1 + 1/2 * 2/3; label 1: 3 first, then 1 of 3.
    assert figures["test_mean_average_precision"] == pytest.approx((5 / 6 + (0.5 + 0.5 * 2 / 3)) / 2)
    loss = ScaledSquaredError([2.0, 10.0])
    assert float(loss(np.array([[1.0, 0.0]]), np.array([[3.0, 5.0]]))) == pytest.approx((1 + 0.25) / 2)
    assert ScaledSquaredError.from_config(loss.get_config()).deviations == [2.0, 10.0]


@pytest.mark.parametrize(
    "fields, values, message",
    [({"class_weights": "balanced"}, False, "class_weights is for data with classes; arrays has several labels"),
     ({"test_time_augmentation": "flip"}, False, "test_time_augmentation is for data with classes"),
     ({"loss": "focal"}, True, "loss is for data with classes or labels; arrays has numbers")],
)  # fmt: skip
def test_what_a_task_has_not_is_refused(fields, values, message, tmp_path):
    images, labels = drawn(64)
    splits = splits_of((images, labels[:, 0] * 1.5 if values else labels), None)
    with pytest.raises(UserError, match=message):
        train(TrainConfig(data="arrays", epochs=1, **OPTIONS, **fields), splits, tmp_path / "run")
    assert not (tmp_path / "run").exists()
