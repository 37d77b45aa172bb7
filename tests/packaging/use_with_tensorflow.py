"""What the default installation does: train, fold, export and load, by the command and in Python. No part of pytest."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import dirac_keras
from pipelines import load_splits

COMMAND = pathlib.Path(sys.executable).with_name("dirac-keras")


def main():
    train_by_command()
    export_in_python()
    name_missing_extra()
    print(f"dirac_keras {importlib.metadata.version('dirac_keras')} with TensorFlow: train, fold, export, load: ok")


def train_by_command():
    sizes = ["--family", "plainnet", "--depth", "2", "--units", "16", "--epochs", "1", "--max-train", "512"]
    run_command("train", "--data", "digits", *sizes, "--max-test", "100", "--workdir", "run")
    figures = json.loads(run_command("evaluate", "run", "--data", "digits", "--json"))
    assert 0 < figures["accuracy"] <= 1, figures
    run_command("fold", "run", "--output", "again.keras")
    run_command("diagnose", "run", "--data", "digits", "--max-images", "16")
    assert tf.saved_model.load("run/saved_model").signatures


def run_command(*arguments):
    finished = subprocess.run([COMMAND, *arguments], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def export_in_python():
    splits = load_splits("digits", batch_size=64, max_train=256)
    model = dirac_keras.models.build_diracnet(10, 0.25, input_shape=splits.spec.image_shape)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(splits.train(), steps_per_epoch=2, shuffle=False, verbose=0)
    folded, _ = dirac_keras.fold(model)
    folded.save("plain.keras")
    loaded = keras.saving.load_model("plain.keras")
    images = next(iter(splits.test()))[0]
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), folded.predict(images, verbose=0))
    print(dirac_keras.export(folded, "served", metadata={"data": splits.spec.to_dict()}))


def name_missing_extra():
    """The search is an extra, and its absence has the line that installs it."""
    finished = subprocess.run([COMMAND, "tune", "--workdir", "search"], capture_output=True, text=True)
    assert finished.returncode and "pip install 'dirac_keras[tune]'" in finished.stderr, finished.stderr


main()
