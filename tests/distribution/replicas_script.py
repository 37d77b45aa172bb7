"""Run by test_distribution.py in a process of its own, whose CPU is two devices: prints what it found as JSON.

With `quick`, one network and what takes no time.
"""

import json
import pathlib
import sys
import tempfile

import keras
import numpy as np

from dirac_keras.distribution import Placement, open_strategy, split_cpu

split_cpu(2)

from dirac_keras.files.tables import read_table  # noqa: E402
from dirac_keras.training import compile_model, untrained_model  # noqa: E402
from dirac_keras.training.config import TrainConfig  # noqa: E402
from dirac_keras.training.fitting import family_callbacks  # noqa: E402
from dirac_keras.training.folder.checkpoints import find_checkpoints  # noqa: E402
from dirac_keras.training.folder.directory import RunDirectory  # noqa: E402
from dirac_keras.training.job import Job  # noqa: E402
from dirac_keras.training.run import Start, model_in_place  # noqa: E402
from dirac_keras.training.stepping.position import Position  # noqa: E402
from pipelines import load_splits  # noqa: E402
from tests.distribution import tasks  # noqa: E402
from tests.run_checks import STEPS, TIMED, KillAfter, Killed, refused, run  # noqa: E402

NETWORKS = {
    "diracnet": {"depth": 10, "width": 0.25},
    # Every gradient is longer: clipped replica by replica, the weights would be others.
    "plainnet clipped": {"family": "plainnet", "depth": 1, "units": 16, "recipe": "plainnet", "clip_norm": 0.05},
    "plainnet by AdamW": {
        "family": "plainnet", "depth": 3, "units": 32, "recipe": "plainnet", "optimizer": "adamw", "clip_norm": 0.05,
        "loss": "focal",
    },
    # Without BatchNormalization: the gradient of a bias in front of one is rounding alone, and Lion takes its sign.
    "plainnet by Lion": {
        "family": "plainnet", "depth": 3, "units": 32, "recipe": "plainnet", "optimizer": "lion", "scenario": "naive",
    },
    "plainnet": {"depth": 3, "units": 32, "recipe": "plainnet"},
    "fastnet": {"depth": 5, "width": 0.1, "recipe": "fast", "optimizer": "muon", "lookahead_steps": 3},
    "diracnet by Muon": {"family": "diracnet", "layout": "dense", "depth": 3, "units": 16, "optimizer": "muon"},
    "plainnet by Muon": {"family": "plainnet", "depth": 3, "units": 32, "recipe": "plainnet", "optimizer": "muon"},
    "van by Muon": {
        "family": "van", "layout": "dense", "depth": 4, "units": 16, "recipe": "van_dense", "optimizer": "muon",
    },
    "van": {"layout": "dense", "depth": 4, "units": 16, "recipe": "van_dense"},
}  # fmt: skip
IN_FLOAT32 = ("diracnet", "plainnet clipped", "plainnet", "fastnet", "van")  # the others in float64 alone
ONE = Placement("one")


def prepared(place, config, splits, policy):
    job = Job(config, splits, RunDirectory("unused"), place, policy)
    return model_in_place(job, Start(Position()))


def trained(place, config, splits, steps, policy="float32"):
    model = prepared(place, config, splits, policy)
    model.fit(
        place.train_data(splits),
        epochs=2,
        steps_per_epoch=steps,
        shuffle=False,  # the stream is shuffled
        verbose=0,
        callbacks=family_callbacks(config),
    )
    return model


def difference(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(float(np.max(np.abs(a - b), initial=0)) for a, b in pairs)


def interrupted(place, folder):
    """How a run that was killed twice differs from one that was not; a VAN, which counts steps of its own."""
    van = {"family": "van", "layout": "dense", "recipe": "van_dense", "learning_rate": 0.1, "phase_out_fraction": 2.0}
    van |= {"phase_out_start": 0.25, "phase_out_end": 1.5, "strategy": place, "max_test": 99}
    whole, kept = run(folder / "whole", **van), []
    for step in (5, 15):
        try:
            run(folder / "run", callbacks=[KillAfter(step)], checkpoint_steps=3, **van)
        except Killed:
            kept.append([step for step, _ in find_checkpoints(folder / "run" / "checkpoints", STEPS)])
    resumed = run(folder / "run", checkpoint_steps=3, **van)
    rows = zip(resumed.history, whole.history, strict=True)
    metrics = max(abs(row[name] - other[name]) for row, other in rows for name in row if name not in TIMED)
    skips = read_table(resumed.run.skips) == read_table(whole.run.skips)
    return {"kept": kept, "weights": difference(resumed.model, whole.model), "metrics": metrics, "skips": skips}


def of_task(task, place, folder):
    """How two devices differ from one in weights and in each figure of the test, for labels or values."""
    one, two = (tasks.trained(task, folder / task / str(n), where, "float32") for n, where in enumerate((ONE, place)))
    names = [name for name in one.summary if name.startswith("test_") and name != "test_seconds"]
    figures = {name: [one.summary[name], two.summary[name]] for name in names}
    return {"weights": difference(one.model, two.model), "figures": figures}


def main(is_quick):
    place = open_strategy("auto")
    found = {"auto": place.name, "replicas": place.num_replicas, "networks": {}, "tests": {}}
    for name, options in list(NETWORKS.items())[: 2 if is_quick else None]:
        fields = {"data": "digits", "family": name, "max_train": 256, "batch_size": 64, "epochs": 2}
        config = TrainConfig(**{**fields, "learning_rate": 0.01, **options})
        splits = load_splits("digits", batch_size=64, max_train=256)
        found["networks"][name] = {}
        if name in IN_FLOAT32:
            one, two = trained(ONE, config, splits, 4), trained(place, config, splits, 4)
            found["networks"][name] |= {"weights": difference(one, two), "between": place.replica_difference(two)}
        if not is_quick:
            exact = [trained(where, config, splits, 4, "float64") for where in (ONE, place)]
            found["networks"][name]["weights_in_float64"] = difference(*exact)
    for count in (1, 129) if is_quick else (1, 3, 5, 129):
        test = load_splits("digits", batch_size=128, max_test=count).test
        expected = one.evaluate(test(), verbose=0, return_dict=True)
        got = two.evaluate(place.test_data(test()), verbose=0, return_dict=True)
        found["tests"][count] = [expected["accuracy"], got["accuracy"], expected["loss"], got["loss"]]

    if not is_quick:
        # A copy without synchronised statistics: what the difference would be, and that it is seen.
        with place.scope():
            alone = untrained_model(config, splits.spec, "float32")
            compile_model(alone, config, 4)
        alone.fit(place.train_data(splits), epochs=1, steps_per_epoch=4, shuffle=False, verbose=0)
        found["unsynchronized_between"] = place.replica_difference(alone)
        with tempfile.TemporaryDirectory() as folder:
            found["interrupted"] = interrupted(place, pathlib.Path(folder))
            found["tasks"] = {task: of_task(task, place, pathlib.Path(folder)) for task in tasks.TASKS}

    def clipped():
        with place.scope():
            model = untrained_model(config, splits.spec, "float32")
            model.compile(keras.optimizers.SGD(clipnorm=1.0), "mse")
        place.prepare(model)

    found["clipped"] = refused(clipped)
    found["accumulated"] = refused(lambda: run("nowhere", strategy=place, accumulate_steps=2))
    found["averaged"] = refused(lambda: run("nowhere", strategy=place, ema_momentum=0.9))
    found["late"] = refused(lambda: split_cpu(3))  # the same number again would be no mistake
    found["uneven"] = refused(lambda: place.check_batch(33))
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main(is_quick="quick" in sys.argv)
