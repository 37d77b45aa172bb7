"""What an installation without TensorFlow does: the main job by the commands, and in Python. No part of pytest.

It writes into the current folder.
"""

import bz2
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np

import dirac_keras
from dirac_keras.files.keras_file import load_model
from dirac_keras.training import train

assert importlib.util.find_spec("tensorflow") is None and "tensorflow" not in sys.modules
assert keras.backend.backend() == "jax"
logging.basicConfig(level=logging.INFO, format="%(message)s")
BATCH = 32
COMMAND = pathlib.Path(sys.executable).with_name("dirac-keras")
NETWORK = ["--data", "digits", "--depth", "10", "--width", "0.25", "--precision", "float32"]
TRAIN = ["train", *NETWORK, "--epochs", "2", "--batch-size", "64", "--checkpoint-steps", "5"]


class Spec:
    """What a model and a run are told of the data."""

    name, image_shape, num_classes, class_names = "stripes", (8, 8, 1), 2, ("across", "along")

    def to_dict(self):
        return {"name": self.name, "image_shape": list(self.image_shape), "class_names": list(self.class_names)}


class InOrder(keras.utils.PyDataset):
    """Batches that can be read again, as every validation does."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return math.ceil(len(self.labels) / BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.images[rows], self.labels[rows]


class Stripes:
    """Splits of NumPy batches: noise with stripes across or along the image, in an order of their own each epoch."""

    spec, steps_per_epoch = Spec(), 8

    def __init__(self):
        noise = np.random.default_rng(0)
        self.labels = noise.integers(0, 2, BATCH * self.steps_per_epoch).astype("int32")
        stripes = np.tile([1.0, -1.0], 4)[:, None] * np.ones((8, 8))
        images = np.where(self.labels[:, None, None], stripes.T, stripes) + noise.normal(size=(len(self.labels), 8, 8))
        self.images = images[..., None].astype("float32")

    def train(self, start_step=0):
        step = start_step
        while True:
            epoch, batch = divmod(step, self.steps_per_epoch)
            rows = np.random.default_rng(epoch).permutation(len(self.labels))[batch * BATCH : (batch + 1) * BATCH]
            yield self.images[rows], self.labels[rows]
            step += 1

    def validation(self):
        return None

    def test(self):
        return InOrder(self.images, self.labels)


class PowerCut(keras.callbacks.Callback):
    """Ends the training behind a step of the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == Stripes.steps_per_epoch + 3:
            raise RuntimeError("the power went")


def main():
    train_and_resume_by_command()
    use_by_command()
    search_and_reproduce_by_command()
    splits = Stripes()
    fold_own_model(splits)
    resume(splits)
    print(
        f"dirac_keras {importlib.metadata.version('dirac_keras')} on JAX without TensorFlow: train, resume after a "
        "kill, evaluate, predict, fold, diagnose, reproduce, tune: ok"
    )


def train_and_resume_by_command():
    """A run that is killed within an epoch and resumed has the weights of one that was not, bit for bit."""
    said = run_command(*TRAIN, "--workdir", "whole")
    assert "not exported: TensorFlow" in said and not pathlib.Path("whole/saved_model").exists(), said
    kill_when_there(pathlib.Path("cut/checkpoints"), *TRAIN, "--workdir", "cut", "--no-export")
    assert not pathlib.Path("cut/model.keras").exists()
    run_command(*TRAIN, "--workdir", "cut")
    whole, resumed = (load_model(name)[0] for name in ("whole", "cut"))
    for mine, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    figures = [json.loads(pathlib.Path(f"{name}/summary.json").read_text()) for name in ("whole", "cut")]
    assert figures[0]["test_loss"] == figures[1]["test_loss"], figures
    print(f"killed and resumed: weights equal bit for bit, test accuracy {figures[1]['test_accuracy']:.4f}")


def kill_when_there(folder, *arguments):
    """Start a command and end it by SIGKILL behind the second checkpoint that it writes."""
    with open("killed.txt", "w", encoding="utf-8") as out:
        process = subprocess.Popen([COMMAND, *arguments], stdout=out, stderr=subprocess.STDOUT)
        while len(list(folder.glob("step-*.keras"))) < 2 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, pathlib.Path("killed.txt").read_text(encoding="utf-8")


def use_by_command():
    figures = json.loads(run_command("evaluate", "whole", "--json"))
    summary = json.loads(pathlib.Path("whole/summary.json").read_text(encoding="utf-8"))
    assert abs(figures["accuracy"] - summary["test_accuracy"]) < 1e-6, (figures, summary)
    folded = json.loads(run_command("evaluate", "whole/folded.keras", "--json"))
    assert folded["accuracy"] == figures["accuracy"], (figures, folded)
    run_command("fold", "whole", "--output", "again.keras")
    assert len(json.loads(run_command("info", "again.keras", "--json"))["layers"]) > 5
    write_picture("image.png")
    named = json.loads(run_command("predict", "whole", "image.png", "--json"))
    assert abs(sum(one["probability"] for one in named["classes"]) - 1) < 0.5 and len(named["classes"]) == 5, named
    assert "verdict" in run_command("diagnose", "whole", "--max-images", "64")
    benchmark = run_command(
        "benchmark", "whole/folded.keras", "--data", "digits", "--max-images", "64", "--rounds", "3"
    )
    assert "folded.keras" in benchmark, benchmark
    failed = subprocess.run([COMMAND, "export", "whole", "--output", "served"], capture_output=True, text=True)
    assert failed.returncode == 1 and "pip install tensorflow" in failed.stderr, failed.stderr


def write_picture(path):
    from PIL import Image

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 16), dtype="uint8")).save(path)


def search_and_reproduce_by_command():
    small = ["--data", "digits", "--family", "plainnet", "--recipe", "plainnet", "--depth", "2,3", "--units", "8"]
    few = ["--tuner", "grid", "--max-epochs", "1", "--max-train", "256", "--max-test", "50", "--learning-rate", "0.01"]
    found = run_command("tune", *small, *few, "--weight-decay", "0", "--workdir", "search")
    assert "2 trials finished" in found, found
    write_usps(pathlib.Path("data/downloads/manual"))
    paper = ["reproduce", "plainnets", "--only", "table2-rate", "--quick", "--workdir", "paper", "--data-dir", "data"]
    assert "proposed" in run_command(*paper)


def write_usps(folder):
    """Files in the form of USPS, which `reproduce` reads: every digit one grey, so that a second is enough to write."""
    folder.mkdir(parents=True)
    for name, count in (("usps.bz2", 7291), ("usps.t.bz2", 2007)):
        lines = [
            " ".join([str(label), *(f"{place}:{label / 10 - 0.5:g}" for place in range(1, 257))])
            for label in range(1, 11)
        ]
        text = "\n".join(lines[index % 10] for index in range(count)) + "\n"
        (folder / name).write_bytes(bz2.compress(text.encode()))


def run_command(*arguments):
    """What a command that must succeed prints."""
    finished = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env={**os.environ})
    assert finished.returncode == 0, f"{arguments}: {finished.stdout}{finished.stderr}"
    return finished.stdout


def fold_own_model(splits):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            dirac_keras.layers.DiracConv2D(8, 3, padding="same", use_bias=False),
            dirac_keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(splits.images, splits.labels, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0], history
    folded, _ = dirac_keras.fold(model)
    assert not any("Batch" in type(layer).__name__ for layer in folded.layers)
    np.testing.assert_allclose(folded.predict(splits.images, verbose=0), model.predict(splits.images, verbose=0),
                               atol=1e-4)  # fmt: skip


def resume(splits):
    fields = {"family": "diracnet", "depth": 10, "width": 0.25, "epochs": 2, "batch_size": BATCH, "checkpoint_steps": 2}
    fields["precision"] = "float32"
    config = dirac_keras.TrainConfig(**fields)
    whole = train(config, splits, "stripes", profile="2")
    try:
        train(config, splits, "cut-stripes", callbacks=[PowerCut()])
    except RuntimeError as error:
        print(error)
    else:
        raise AssertionError("the training was not interrupted")
    resumed = train(config, splits, "cut-stripes")
    for mine, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    small = {"family": "plainnet", "depth": 2, "units": 8, "scenario": "bn", "epochs": 1, "batch_size": BATCH}
    averaged = dirac_keras.TrainConfig(**small, ema_momentum=0.9)
    assert math.isfinite(train(averaged, splits, "averaged").summary["test_loss"])
    dirac_keras.assert_plain(dirac_keras.fold(resumed.model)[0])


main()
