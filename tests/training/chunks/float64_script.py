"""Run by test_float64.py in a process of its own, whose CPU is two devices of JAX: prints what it found as JSON.

In float64, metrics too: there is no rounding to be amplified, and two ways to compute the same are told from two that
differ.
"""

import json
import os
import pathlib
import tempfile

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import keras
import numpy as np

keras.config.set_floatx("float64")
# As in tests/distribution/devices_script.py: Keras 3.15 computes in float32 on JAX, whatever is asked.
keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"

from dirac_keras.distribution import Placement, split_cpu  # noqa: E402

split_cpu(2)

from dirac_keras.distribution.data_parallel import DataParallel  # noqa: E402
from dirac_keras.training import TrainConfig, train, train_seeds  # noqa: E402
from pipelines import load_splits  # noqa: E402

FIELDS = {
    "data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 3, "units": 16, "learning_rate": 0.05,
    "augmentation": "fashion", "epochs": 2, "batch_size": 64, "precision": "float64", "max_train": 256, "max_test": 99,
}  # fmt: skip
ONE = Placement("one")


def config_of(seed):
    return TrainConfig(**FIELDS, seed=seed)


def splits_of(seed):
    return load_splits(**config_of(seed).data_arguments())


def run(folder, place=ONE, **options):
    return train(config_of(0), splits_of(0), folder, strategy=place, **options)


def difference(result, other):
    """Of trained weights and statistics, and of the losses; largest, absolute."""
    pairs = zip(result.model.get_weights(), other.model.get_weights(), strict=True)
    rows = zip(result.history, other.history, strict=True)
    losses = [abs(row[name] - theirs[name]) for row, theirs in rows for name in ("loss", "val_loss")]
    return max([*losses, *(float(np.max(np.abs(a - b), initial=0)) for a, b in pairs)])


def main():
    import jax

    folder = pathlib.Path(tempfile.mkdtemp())
    fitted = run(folder / "fit")
    chunks = run(folder / "chunks", steps_per_execution=3, data_on_device="yes")
    devices = DataParallel(
        "data_parallel", keras.distribution.DataParallel(devices=jax.devices(), auto_shard_dataset=False)
    )
    seeds = train_seeds(config_of(0), [splits_of(0), splits_of(1)], [folder / "0", folder / "1"], [0, 1])
    found = {
        "learned": fitted.history[0]["loss"] - fitted.history[-1]["loss"],
        "between seeds": difference(seeds[0], seeds[1]),
        "chunks": difference(chunks, fitted),
        "seeds": difference(seeds[0], chunks),
    }
    for name, options in (("stored", {"data_on_device": "yes"}), ("streamed", {"data_on_device": "no"})):
        shared = run(folder / name, devices, steps_per_execution=3, **options)
        found[f"{name} on two devices"] = difference(shared, fitted)
    print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
