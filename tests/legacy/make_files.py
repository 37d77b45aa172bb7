"""Write `files/` with the code of commit a742e1d, before modules moved and `kind` and `variant` became `layout`.

In a checkout of that commit: `PYTHONPATH=. python make_files.py FOLDER`. It does not run on today's code.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import keras
import numpy as np

from dirac_keras import TrainConfig
from dirac_keras.training import train
from pipelines import load_splits

SHARED = {"data": "digits", "epochs": 2, "batch_size": 64, "precision": "float32", "max_train": 512, "max_test": 100}
SHARED |= {"checkpoint_steps": 3, "keep_checkpoints": 1, "seed": 3}  # 8 steps an epoch
# One for each way that `kind` and `variant` chose the layout.
RUNS = {
    "diracnet": {"family": "diracnet", "depth": 10, "width": 0.125, "recipe": "quick"},
    "plainnet": {"family": "plainnet", "depth": 3, "units": 8, "recipe": "plainnet", "scenario": "bn"},
    "van": {
        "family": "van",
        "kind": "dense",
        "depth": 3,
        "units": 8,
        "recipe": "van_dense",
        "learning_rate": 0.1,
        "phase_out_end": 1.5,
    },
    "resnet": {"family": "resnet", "variant": "dense", "depth": 3, "units": 8, "skips": False, "recipe": "quick"},
    "highway": {"family": "highway", "kind": "conv", "depth": 7, "width": 0.05, "recipe": "quick"},
}
FINISHED = "diracnet"  # whose finished folder is kept too
KILLED_AT = 5  # of 8 steps in the first epoch: the checkpoint is that of step 3
LEFT_OUT = ("tb", ".lock", "*.png")  # host names, a process number, pictures


class Killed(RuntimeError):
    """Stands for the end of the process."""


class Kill(keras.callbacks.Callback):
    """Ends the training behind a step of the first epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == KILLED_AT:
            raise Killed


def make(name, folder):
    """`run/` as the interruption leaves it, and what resuming it comes to: `reached.npz` and, for one, `finished/`."""
    config = TrainConfig(**SHARED, **RUNS[name])
    splits = load_splits(**config.data_arguments())
    with tempfile.TemporaryDirectory() as temporary:
        workdir = pathlib.Path(temporary) / "run"
        try:
            train(config, splits, workdir, callbacks=[Kill()])
        except Killed:
            keep(workdir, folder / "run")
        [checkpoint] = workdir.glob("checkpoints/*.keras")
        interrupted = keras.saving.load_model(checkpoint)
        result = train(config, splits, workdir)
        if name == FINISHED:
            keep(workdir, folder / "finished")
        images = next(iter(splits.test()))[0].numpy()[:8]
        np.savez_compressed(
            folder / "reached.npz",
            images=images,
            outputs=outputs_of(result.model, images),
            outputs_of_checkpoint=outputs_of(interrupted, images),
            summary=json.dumps(result.summary),
            **{f"weight{number}": value for number, value in enumerate(result.model.get_weights())},
        )


def keep(workdir, folder):
    shutil.copytree(workdir, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))


def outputs_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    for name in RUNS:
        (target / name).mkdir(parents=True)
        make(name, target / name)
