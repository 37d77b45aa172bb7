"""The scripts of `examples/` as a reader runs them, in sizes that take seconds."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(tmp_path):
    """A function that runs a script in a folder of its own. Returns: what it printed."""

    def run_script(name, *arguments):
        command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run_script


@pytest.fixture
def photos(tmp_path):
    """A folder of 100 PNG files of two digits."""
    images, labels = load_digits(n_class=2, return_X_y=True)
    folder = tmp_path / "photos"
    for number, (image, label) in enumerate(zip(images[:100], labels[:100], strict=True)):
        path = folder / ("zeros", "ones")[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 15).astype("uint8")).convert("RGB").save(path)
    return folder


@pytest.mark.slow
def test_photos_are_trained_on_and_served(run, photos, tmp_path):
    output = run("train_on_photos.py", photos, "--epochs=3", "--image-size=8", "--depth=10", "--width=0.25")
    assert "classes: ones, zeros" in output and "test accuracy" in output
    answers = [line for line in output.splitlines() if line.startswith(str(photos / "ones"))]
    assert len(answers) == 3 and all(line.split(": ")[1].split()[0] in ("ones", "zeros") for line in answers)
    assert (tmp_path / "runs/photos/served/saved_model.pb").is_file()


@pytest.mark.slow
def test_model_with_dirac_layers_learns_and_folds(run, tmp_path):
    output = run("dirac_layers.py", "--depth=6", "--epochs=4")
    accuracies = [
        float(line.split("val_accuracy: ")[1].split()[0]) for line in output.splitlines() if "val_acc" in line
    ]
    assert len(accuracies) == 4 and accuracies[-1] > 0.3  # guessing is 0.1
    assert float(output.split("largest difference of the outputs ")[1].split()[0]) < 1e-3
    assert is_plain_keras(tmp_path / "plain.keras")


@pytest.mark.slow
def test_skips_of_a_resnet_are_phased_out_and_folded(run, tmp_path):
    output = run("phase_out_skips.py", "--blocks=2", "--epochs=8")
    assert "folded" in output
    assert is_plain_keras(tmp_path / "plain.keras")


def is_plain_keras(path):
    """Whether a file holds layers of Keras alone, none that adds, and gives numbers."""
    model = keras.saving.load_model(path)
    kinds = {type(layer) for layer in model.layers}
    assert all(kind.__module__.startswith("keras.") for kind in kinds) and keras.layers.Add not in kinds
    return bool(np.isfinite(model.predict(np.zeros((1, 8, 8, 1), "float32"), verbose=0)).all())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
