"""Run by test_data_parallel.py in a process of its own, whose CPU is four devices of JAX: prints what it found as JSON.

In float64, metrics too: there is no rounding to be amplified, and two ways to compute the same are told from two that
differ. With `quick`, what takes little time.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"

import keras
import numpy as np

keras.config.set_floatx("float64")
# Keras 3.15 computes in float32 on JAX, whatever is asked (`dirac_keras.precision` refuses float64 there): this table
# of its own says so, and it must not here.
keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"

from dirac_keras.distribution import Placement, open_strategy, split_cpu  # noqa: E402

split_cpu(4)

from dirac_keras.callbacks.timing import describe_limit  # noqa: E402
from dirac_keras.distribution.data_parallel import DataParallel  # noqa: E402
from dirac_keras.files.tables import read_table  # noqa: E402
from tests.distribution import tasks  # noqa: E402
from tests.run_checks import TIMED, KillAfter, Killed, refused, train_fields  # noqa: E402

NETWORKS = {
    "diracnet": {"family": "diracnet", "recipe": "quick", "depth": 10, "width": 0.25, "learning_rate": 0.05},
    "plainnet": {"family": "plainnet", "recipe": "plainnet", "depth": 3, "units": 16, "learning_rate": 0.05},
    "van": {
        "family": "van", "layout": "dense", "recipe": "van_dense", "depth": 4, "units": 16, "learning_rate": 0.1,
        "phase_out_fraction": 2.0, "phase_out_start": 0.25, "phase_out_end": 1.5,
    },
}  # fmt: skip
MUON = {"optimizer": "muon", "muon_learning_rate": 0.1}
WITH_MUON = {
    "diracnet": {"layout": "dense", "depth": 3, "units": 16, "width": None},  # compiles faster
    "plainnet": {},
    "van": {},
}
COMMON = {"data": "digits", "epochs": 2, "batch_size": 64, "precision": "float64", "max_train": 256, "max_test": 99}
ONE = Placement("one")
UNLIKE = {*TIMED, "device_memory_mib"}


def place_of(count):
    """So many of the devices."""
    import jax

    strategy = keras.distribution.DataParallel(devices=jax.devices()[:count], auto_shard_dataset=False)
    return DataParallel("data_parallel", strategy)


def run(workdir, network, strategy, execution=None, **fields):
    """`train` of one of `NETWORKS`; `execution` are options of `train`."""
    fields = {**COMMON, **NETWORKS[network], **fields}
    return train_fields(fields, workdir, strategy=strategy, **(execution or {}))


def weight_difference(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(float(np.max(np.abs(a - b), initial=0)) for a, b in pairs)


def differences(result, other):
    """Of trained weights and statistics, of the rows of metrics, of the test's figures; largest, absolute."""
    rows = list(zip(result.history, other.history, strict=True))
    return {
        "weights": weight_difference(result.model, other.model),
        "metrics": max(abs(row[name] - o[name]) for row, o in rows for name in row if name not in UNLIKE),
        "test": max(abs(result.summary[name] - other.summary[name]) for name in figures_of_test(result.summary)),
        "learned": result.history[0]["loss"] - result.history[-1]["loss"],
        "between": other.summary.get("replica_difference"),
    }


def figures_of_test(summary):
    """Names of what the test measured: accuracy, or what labels and values have."""
    return [name for name in summary if name.startswith("test_") and name not in ("test_seconds", "test_images")]


def resumed(folder, places):
    """A run that is killed within both epochs and continued on other devices, beside one device's without a break."""
    options = {"network": "van", "max_train": 512}  # 8 steps an epoch
    whole, kept = run(folder / "whole", strategy=ONE, **options), []
    for place, step in zip(places, (5, 13), strict=False):
        try:
            killed = {"callbacks": [KillAfter(step)]}
            run(folder / "run", strategy=place, execution=killed, checkpoint_steps=3, **options)
        except Killed:
            names = sorted(path.name for path in (folder / "run" / "checkpoints").glob("*.keras"))
            kept.append(names)
    result = run(folder / "run", strategy=places[-1], checkpoint_steps=3, **options)
    skips = read_table(result.run.skips), read_table(whole.run.skips)
    return {**differences(whole, result), "kept": kept, "skips": skips[0] == skips[1]}


def main(is_quick):
    place = open_strategy("auto")
    found = {"auto": place.name, "replicas": place.num_replicas, "said": str(place), "networks": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in ["plainnet"] if is_quick else NETWORKS:
            one = run(folder / name / "one", name, ONE)
            for count in (4,) if is_quick else (2, 4):
                several = run(folder / name / str(count), name, place_of(count))
                found["networks"][f"{name} on {count}"] = differences(one, several)
        found["limit"] = describe_limit(several.summary)
        if not is_quick:
            for other, fields in WITH_MUON.items():
                runs = [
                    run(
                        folder / "muon" / other / str(count), other, place_of(count) if count else ONE, **fields, **MUON
                    )
                    for count in (0, 4)
                ]
                found["networks"][f"{other} by Muon"] = differences(*runs)
            places = {"one": ONE, "four": place_of(4)}
            averaged = [run(folder / "ema" / key, "plainnet", places[key], ema_momentum=0.9) for key in places]
            found["networks"]["averaged on 4"] = differences(*averaged)
            options = {"clip_norm": 0.05, "accumulate_steps": 3, "optimizer": "adamw", "class_weights": "balanced"}
            updates = [run(folder / "updates" / key, "plainnet", places[key], **options) for key in places]
            found["networks"]["accumulated on 4"] = differences(*updates)
            for task in tasks.TASKS:
                pair = [tasks.trained(task, folder / task / key, places[key], "float64") for key in places]
                found["networks"][f"{task} on 4"] = differences(*pair)
            judged = {"early_stopping": 1, "monitor": "loss", "validation": 64, "learning_rate": 1.0, "epochs": 4}
            stopped = [run(folder / "stopped" / key, "plainnet", places[key], **judged) for key in places]
            found["networks"]["stopped on 4"] = differences(*stopped)
            found["best"] = [result.summary["best_epoch"] for result in stopped]
            chunks = run(folder / "chunks", name, place_of(4), {"steps_per_execution": 3, "data_on_device": "yes"})
            found["networks"][f"{name} in chunks"] = differences(one, chunks)
            found["resumed"] = resumed(folder / "resumed", (place_of(2), place_of(4), ONE))
        found["uneven"] = refused(lambda: run(folder / "uneven", "plainnet", place, batch_size=66))  # of 4 devices
    found["late"] = refused(lambda: split_cpu(3))
    found["mirrored"] = refused(lambda: open_strategy("mirrored"))
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main(is_quick="quick" in sys.argv)
