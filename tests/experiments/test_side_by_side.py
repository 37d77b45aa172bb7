"""Networks trained side by side are the networks that are trained alone."""

import json
import signal

import keras
import numpy as np
import pytest

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.experiments import Run, run_all, side_by_side
from dirac_keras.experiments.endings import diverged
from dirac_keras.experiments.side_by_side import splits_of, train_side_by_side
from dirac_keras.experiments.wide_network import place_side_by_side, take_apart
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table
from dirac_keras.models import build_diracnet, build_highway, build_plainnet, build_resnet, build_van
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.stepping.interruption import TrainingInterrupted
from pipelines import load_splits

SHAPE = (4, 4, 1)
BUILDERS = {
    "resnet": lambda: build_resnet(3, layout="dense", units=6, input_shape=SHAPE),
    "plain": lambda: build_resnet(3, layout="dense", units=6, input_shape=SHAPE, skips=False),
    "diracnet": lambda: build_diracnet(3, layout="dense", units=6, input_shape=SHAPE),
    "dirac resnet": lambda: build_resnet(3, layout="dense", units=6, input_shape=SHAPE, sigma=0.1),
    "highway": lambda: build_highway("dense", depth=3, units=6, input_shape=SHAPE),
    "plainnet": lambda: build_plainnet("dense", depth=3, units=6, input_shape=SHAPE, max_norm=0.5),
    "van": lambda: build_van("dense", depth=3, units=6, input_shape=SHAPE),
}
FIELDS = {
    "data": "digits",
    "recipe": "van_dense",
    "depth": 3,
    "units": 8,
    "epochs": 2,
    "max_train": 640,
    "max_test": 100,
    "batch_size": 64,
    "learning_rate": 0.01,
    "weight_decay": 1e-3,
}


def load(config):
    return load_splits(**config.data_arguments())


def disturb(model, rng):
    """Give every weight a random value that its layer can have: positive and below 1."""
    for weight in model.weights:
        if weight.dtype == "float32" and len(weight.shape):
            weight.assign(rng.uniform(0.1, 0.9, weight.shape))


@pytest.mark.slow
@pytest.mark.parametrize("family", BUILDERS)
def test_outputs_are_those_of_the_networks(family):
    rng = np.random.default_rng(0)
    models = [BUILDERS[family]() for _ in range(3)]
    for model in models:
        disturb(model, rng)
    wide = place_side_by_side(models)
    images = rng.normal(size=(5, 3, *SHAPE)).astype("float32")
    expected = np.concatenate([model.predict(images[:, k], verbose=0) for k, model in enumerate(models)], axis=-1)
    # float32 products of other shapes are summed in another order
    np.testing.assert_allclose(wide.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("family", BUILDERS)
def test_taking_apart_is_the_inverse_of_placing_side_by_side(family):
    rng = np.random.default_rng(0)
    models, copies = ([BUILDERS[family]() for _ in range(2)] for _ in range(2))
    for model in models:
        disturb(model, rng)
    take_apart(place_side_by_side(models), copies)
    for model, copy in zip(models, copies, strict=True):
        for before, after in zip(model.get_weights(), copy.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)


def test_convolutions_are_refused():
    model = build_diracnet(10, 0.25, input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"dense layers can be placed side by side.*conv1"):
        place_side_by_side([model, model])


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        {"family": "plainnet", "layout": "dense", "learning_rate": 0.5},  # weights grow to the bound of max-norm
        pytest.param({"family": "diracnet", "layout": "dense"}, marks=pytest.mark.slow),
        pytest.param({"family": "van", "phase_out_end": 1.5}, marks=pytest.mark.slow),
        pytest.param({"family": "resnet", "layout": "dense"}, marks=pytest.mark.slow),
        pytest.param({"family": "highway"}, marks=pytest.mark.slow),
        pytest.param({"family": "van", "skip_constraint": False}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_each_network_is_trained_as_if_it_were_alone(network, tmp_path):
    configs = [TrainConfig(**FIELDS | network, seed=seed) for seed in (0, 5)]
    train_side_by_side(configs, splits_of(configs, load), [tmp_path / "first", tmp_path / "second"])
    alone = train(configs[1], load_splits(**configs[1].data_arguments()), tmp_path / "alone")
    found, _ = load_model(tmp_path / "second")
    for weight, expected in zip(found.weights, alone.model.weights, strict=True):
        # twenty steps in float32, whose sums are in another order
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(weight), keras.ops.convert_to_numpy(expected), atol=2e-4, err_msg=weight.path
        )
    rows, expected_rows = (read_table(tmp_path / name / "metrics.csv") for name in ("second", "alone"))
    assert len(rows) == 2
    for row, expected in zip(rows, expected_rows, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert row[name] == pytest.approx(expected[name], abs=1e-3), name
        if network["family"] == "van":
            assert row["skip_residual"] == pytest.approx(expected["skip_residual"], abs=1e-4)


@pytest.mark.parametrize(
    "option",
    [
        {"ema_momentum": 0.9}, {"optimizer": "muon"}, {"clip_norm": 1.0}, {"loss": "focal"}, {"keep_best": True},
        {"class_weights": "balanced"}, {"test_time_augmentation": "flip"}, {"augmentation": "none+mixup"},
    ],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_what_train_alone_does_is_refused(option, tmp_path):
    fields = {**FIELDS, "family": "resnet", "layout": "dense", **option}
    configs = [TrainConfig(**fields, seed=seed) for seed in (0, 1)]
    splits = [load_splits(**config.data_arguments()) for config in configs]
    (name,) = option
    with pytest.raises(ValueError, match=rf"{name} must .* for runs side by side\. Received {name}="):
        train_side_by_side(configs, splits, [tmp_path / "a", tmp_path / "b"])
    assert not any(tmp_path.iterdir())


def test_runs_that_differ_in_more_than_the_seed_are_refused(tmp_path):
    configs = [TrainConfig(**{**FIELDS, "depth": depth}, family="highway") for depth in (2, 3)]
    with pytest.raises(ValueError, match="seed alone"):
        train_side_by_side(configs, [None, None], [tmp_path / "a", tmp_path / "b"])


@pytest.mark.slow
def test_an_experiment_trains_seeds_together_and_the_rest_alone(tmp_path):
    fields = {**FIELDS, "family": "highway", "epochs": 1}
    runs = [Run(f"seed{seed}", {**fields, "seed": seed}) for seed in (0, 1)]
    runs.append(Run("deeper", {**fields, "depth": 4}))
    results = run_all(runs, tmp_path, side_by_side=True, seed=3)
    assert [directory.read_config().seed for _, directory in results] == [3, 4, 3]
    assert all(directory.is_finished() for _, directory in results)
    assert (tmp_path / "deeper" / "curves.png").exists()
    assert not (tmp_path / "seed0" / "curves.png").exists()  # made in one step with its neighbour


class StopAfter(keras.callbacks.Callback):
    """Sends this process SIGTERM in a step."""

    def __init__(self, step):
        super().__init__()
        self.step, self.done = step, 0

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done == self.step:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
def test_interrupted_group_resumes_at_its_last_epoch_to_the_same_end(tmp_path):
    """Ten steps an epoch: a signal in the 25th leaves a checkpoint of step 20 for each; one then goes on alone."""
    fields = FIELDS | {"family": "van", "epochs": 3, "phase_out_end": 2.5, "depth": 2}
    configs = [TrainConfig(**fields, seed=seed) for seed in (0, 5, 6)]
    names = ["a", "b", "c"]
    whole, parts = ([tmp_path / where / name for name in names] for where in ("whole", "parts"))
    splits = splits_of(configs, load)
    train_side_by_side(configs, splits, whole)
    with pytest.raises(TrainingInterrupted, match="after epoch 2 of 3, which is saved"):
        train_side_by_side(configs, splits, parts, callbacks=[StopAfter(25)])
    assert [[path.name for path in (folder / "checkpoints").glob("*.keras")] for folder in parts] == [
        ["step-00000020.keras"]
    ] * 3
    train(configs[1], load(configs[1]), parts[1])
    train_side_by_side(configs, splits, parts)
    for one, other in zip(whole, parts, strict=True):
        (first, _), (second, _) = load_model(one), load_model(other)
        for weight, expected in zip(second.weights, first.weights, strict=True):
            if weight.name not in ("due_rate", "step"):  # of the timetable, which ends otherwise alone
                np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (weight, expected)), atol=1e-5)
        rows, expected_rows = (read_table(folder / "metrics.csv") for folder in (other, one))
        assert [row["epoch"] for row in rows] == [1, 2, 3]
        assert rows[-1]["val_accuracy"] == pytest.approx(expected_rows[-1]["val_accuracy"], abs=1e-3)


@pytest.mark.slow
def test_network_that_diverges_leaves_its_neighbours_alone(tmp_path, monkeypatch):
    """The second network starts from weights that are no numbers."""
    start = side_by_side.untrained_model

    def spoilt(config, spec, policy):
        model = start(config, spec, policy)
        if config.seed == 5:
            kernel = model.layers[-1].kernel
            kernel.assign(np.full(kernel.shape, np.nan))
        return model

    monkeypatch.setattr(side_by_side, "untrained_model", spoilt)
    configs = [TrainConfig(**FIELDS | {"family": "highway", "epochs": 1, "depth": 2}, seed=seed) for seed in (0, 5)]
    folders = [RunDirectory(tmp_path / name) for name in ("calm", "wild")]
    train_side_by_side(configs, splits_of(configs, load), [folder.path for folder in folders])
    assert [diverged(folder) for folder in folders] == [False, True]
    assert folders[0].is_finished() and not folders[1].is_finished()
    assert "epoch 1" in (folders[1].path / "diverged.txt").read_text()


def test_seeds_that_choose_the_images_have_splits_of_their_own():
    configs = [TrainConfig(**FIELDS | {"validation": 0.2}, family="highway", seed=seed) for seed in (0, 5)]
    loaded = []

    def load_one(config):
        loaded.append(config.seed)
        return load(config)

    assert [one.seed for one in splits_of(configs, load_one)] == [0, 5] and loaded == [0, 5]
    configs = [TrainConfig(**FIELDS, family="highway", seed=seed) for seed in (1, 2)]
    assert [one.seed for one in splits_of(configs, load_one)] == [1, 2]
    assert loaded == [0, 5, 1]


TWO_SEEDS = [
    Run(f"seed{seed}", {**FIELDS, "family": "highway", "epochs": 1, "max_train": 128, "depth": 2, "seed": seed})
    for seed in (0, 1)
]


@pytest.fixture
def an_accelerator(monkeypatch):
    """JAX's CPU, taken for one."""
    if keras.backend.backend() != "jax":
        pytest.skip("one program for several seeds is JAX's")
    monkeypatch.setattr("dirac_keras.training.chunks.device.is_accelerator", lambda: True)


def test_on_an_accelerator_seeds_are_one_program(an_accelerator, tmp_path, caplog):
    with caplog.at_level("INFO"):
        results = run_all(TWO_SEEDS, tmp_path, side_by_side=True)
    assert "seeds 0, 1 are trained as one program" in caplog.text
    for _, directory in results:
        assert directory.is_finished()
        assert json.loads(directory.summary.read_text())["train_images"] == 128  # the training error is measured


def test_where_one_diverges_on_an_accelerator_each_goes_on_alone(an_accelerator, tmp_path, monkeypatch, caplog):
    def one_diverges(*arguments, **options):
        raise TrainingDiverged("the loss of epoch 1 is nan")

    monkeypatch.setattr("dirac_keras.experiments.runner.train_seeds", one_diverges)
    results = run_all(TWO_SEEDS, tmp_path, side_by_side=True)
    assert "of 2 networks one diverged" in caplog.text
    assert all(directory.is_finished() for _, directory in results)
