"""The networks of `benchmarks.deployment`: each trained for a few epochs into a folder, unless it is there.

Those of this package are runs of `dirac-keras train` on CIFAR-10. Those of keras.applications take CIFAR-10's images at
a larger size, on which a step takes long: most of their training is on smaller images, the end on those of the size.
"""

import os
import pathlib
import subprocess
import sys

MODEL_FILE, FOLDED_FILE = "model.keras", "folded.keras"
_CIFAR = ("--data=cifar10", "--recipe=quick", "--precision=float32", "--no-export")
# Name -> flags of `dirac-keras train`, epochs.
RUNS = {
    "diracnet-28-1": (("--family=diracnet", "--depth=28", "--width=1"), 4),
    "plain-28-1": (("--family=diracnet", "--parameterization=plain", "--depth=28", "--width=1"), 4),
    # Sealed: the skip connections are gone after half of the epochs.
    "van-18": (("--family=van", "--layout=conv", "--depth=18", "--phase-out-end={half}"), 4),
}
SIDE = 96  # pixels
BATCH = 64
# Name of keras.applications -> stages: pixels, epochs, training images, Adam's largest rate.
APPLICATIONS = {
    "MobileNetV2": ((48, 4, 50_000, 1e-3), (SIDE, 1, 10_000, 2e-4)),
    "ResNet50": ((48, 2, 50_000, 1e-3), (SIDE, 1, 6_000, 2e-4)),
}
NAMES = (*RUNS, *map(str.lower, APPLICATIONS))


def train(name, workdir, epochs=None, max_train=None, max_test=None, data_dir=None, download=False):
    """Train a network into `workdir/NAME`, unless it is there, and fold it.

    Args:
        name: one of `NAMES`.
        workdir: `pathlib.Path`.
        epochs, max_train, max_test: as in `dirac-keras train`; None: the network's own.

    Returns: `pathlib.Path` of the folder with `model.keras` and `folded.keras`.
    """
    folder = pathlib.Path(workdir) / name
    if not (folder / MODEL_FILE).exists():
        if name in RUNS:
            flags, own_epochs = RUNS[name]
            epochs = epochs or own_epochs
            flags = [flag.format(half=epochs / 2) for flag in flags]
            given = {"max-train": max_train, "max-test": max_test, "data-dir": data_dir}
            flags += [f"--{key}={value}" for key, value in given.items() if value is not None]
            _run("train", *_CIFAR, *flags, f"--epochs={epochs}", f"--workdir={folder}", *["--download"] * download)
        else:
            given = {"max_train": max_train, "max_test": max_test, "data_dir": data_dir, "download": download}
            _train_application(name, folder, epochs, **given)
    if not (folder / FOLDED_FILE).exists():
        _run("fold", str(folder / MODEL_FILE), f"--output={folder / FOLDED_FILE}", "--precision=float32")
    return folder


def _run(*arguments):
    command = [sys.executable, "-m", "dirac_keras.cli", *arguments]
    if subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}).returncode:
        raise SystemExit(f"{' '.join(command)} failed")


def _train_application(name, folder, epochs, max_train, **data):
    import keras

    from dirac_keras.files.keras_file import save_model

    (title,) = (one for one in APPLICATIONS if one.lower() == name)
    keras.utils.set_random_seed(0)
    weights = None
    for side, own_epochs, own_images, rate in APPLICATIONS[title]:
        # Weights depend on no size: the last block pools over all positions.
        model = getattr(keras.applications, title)(
            weights=None, classes=10, input_shape=(side, side, 3), classifier_activation=None
        )
        if weights is not None:
            model.set_weights(weights)
        spec = _train_stage(model, side, epochs or own_epochs, max_train or own_images, rate, data)
        weights = model.get_weights()
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / MODEL_FILE, metadata={"data": spec.to_dict(), "seed": 0}, overwrite=True)


def _train_stage(model, side, epochs, images, rate, data):
    """Train on images of one size. Returns: `DataSpec` of them."""
    import keras

    from pipelines import load_splits

    splits = load_splits("cifar10", batch_size=BATCH, image_size=side, max_train=images, augmentation="flip", **data)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # the statistics settle within so few steps
    steps = max(splits.spec.num_train // BATCH, 1)
    warmup = max(steps * epochs // 10, 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(steps * epochs - warmup, 1), warmup_target=rate, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(splits.train(), steps_per_epoch=steps, epochs=epochs, verbose=2)
    figures = model.evaluate(splits.test(), verbose=0, return_dict=True)
    said = f"{splits.spec.num_train} images of {side} pixels, {epochs} epochs"
    print(f"{model.name}, {said}: test accuracy {figures['accuracy']:.4f}", flush=True)
    return splits.spec
