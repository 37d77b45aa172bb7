"""Steps and sums on the devices and processes of this machine, for `python -m benchmarks scale --check`.

Virtual devices share the machine's cores: n of them compute a batch no faster than one does. What they add are the sums
over devices. So the prediction is the step of one device and the sums, timed on their own, and the step of n devices is
measured beside it.
"""

import json
import os
import subprocess
import sys
import time

from benchmarks.replicas import free_ports

NETWORK = {"family": "diracnet", "recipe": "quick", "depth": 10, "width": 0.25}
BATCH, STEPS, WARMUP = 32, 40, 3
SIZES = (64, 4096, 65_536, 1_048_576)  # numbers of a sum, float32
REPEATS = 40
SECONDS = 900  # of all steps, compiling included


def measured(devices, processes):
    """What a step and sums take, from processes of their own.

    Args:
        devices: int, of all processes together; processes: int.

    Returns: dict: `devices`, `processes`, `step` (seconds, the least of `STEPS`: other programs only add to it), `sums`
        (list of (bytes, seconds), least likewise), and what the compiled step adds over devices: `operations`, `bytes`,
        `normalizations`, `gradient_bytes`.
    """
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(processes)) if processes > 1 else ""
    command = [sys.executable, "-m", "benchmarks.scale_measured", str(devices // processes), workers]
    running = [
        subprocess.Popen(
            [*command, str(index)], stdout=subprocess.PIPE, text=True, env={**os.environ, "KERAS_BACKEND": "jax"}
        )
        for index in range(processes)
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS)[0] for process in running]
    except subprocess.TimeoutExpired:
        raise SystemExit(
            f"{' '.join(command)} took more than {SECONDS} s: one of its processes may have died"
        ) from None
    finally:
        for process in running:  # one that waits for another that is gone
            process.kill()
    if any(process.returncode for process in running):
        raise SystemExit(f"{' '.join(command)} failed")
    line = next(line for line in outputs[0].splitlines() if line.startswith("FOUND "))
    return {"devices": devices, "processes": processes, **json.loads(line.removeprefix("FOUND "))}


def main(devices, workers, index):
    """In a process of its own: print the figures as JSON."""
    from dirac_keras.distribution import open_strategy, split_cpu

    if devices > 1:
        split_cpu(devices)
    place = open_strategy("auto", workers.split(",") if workers else None, index if workers else None)
    model, batch = _model(place), _batch(place)
    found = {"step": _step_seconds(place, model, batch)}
    if place.num_replicas > 1:
        found["sums"] = [(4 * size, _sum_seconds(place, size)) for size in SIZES]
        found |= _sums_of_step(place, model, batch)
    if place.is_chief:
        print("FOUND " + json.dumps(found), flush=True)


def _model(place):
    from dirac_keras.training import compile_model, untrained_model
    from dirac_keras.training.config import TrainConfig

    with place.scope():
        model = untrained_model(TrainConfig(data="cifar10", epochs=1, batch_size=BATCH, **NETWORK), _Spec, "float32")
        compile_model(model, TrainConfig(data="cifar10", epochs=1, batch_size=BATCH, **NETWORK), 100)
    return place.prepare(model)


class _Spec:
    name, image_shape, num_classes, class_names = "random", (32, 32, 3), 10, None


def _batch(place):
    import numpy as np

    rng = np.random.default_rng(0)
    rows = BATCH // place.num_workers
    images, labels = rng.normal(size=(BATCH, 32, 32, 3)).astype("float32"), rng.integers(0, 10, BATCH)
    part = slice(place.worker_index * rows, (place.worker_index + 1) * rows)
    return images[part], labels[part]


def _step_seconds(place, model, batch):
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, step, logs=None):
            self.start = time.perf_counter()

        def on_train_batch_end(self, step, logs=None):
            float(logs["loss"])  # waits for the step
            if step >= WARMUP:
                seconds.append(time.perf_counter() - self.start)

    def batches():
        while True:
            yield batch

    with place.running():
        model.fit(batches(), steps_per_epoch=STEPS + WARMUP, verbose=0, callbacks=[Clock()], shuffle=False)
    return min(seconds)


def _sum_seconds(place, size):
    """A sum over the devices of one array of so many numbers each."""
    import jax
    import numpy as np

    local = np.ones((place.num_replicas // place.num_workers, size), "float32")
    values = place.share(local, axis=0, is_part=True)
    add = jax.jit(lambda x: x.sum(axis=0), out_shardings=place.layout(1, None))
    add(values).block_until_ready()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        add(values).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _sums_of_step(place, model, batch):
    """What the compiled step adds up over devices: read in the program that XLA made."""
    import re

    import jax
    import keras

    with place.running():
        data = tuple(place.share(part, axis=0, is_part=True) for part in batch)
        groups = (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)
        state = [[variable.value for variable in group] for group in (*groups, model.metrics_variables)]
        text = jax.jit(model.train_step).lower(tuple(state), data).compile().as_text()
    sums = re.findall(r"= (.*?) all-reduce(?:-start)?\(", text)
    count = sum(4 * _numbers(shape) for operation in sums for shape in re.findall(r"[a-z]+\d*\[([\d,]*)\]", operation))
    normalizations = [
        int(layer.gamma.shape[0]) for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    gradients = 4 * sum(int(v.value.size) for v in model.trainable_variables)
    return {
        "operations": len(sums), "bytes": count, "normalizations": normalizations, "gradient_bytes": gradients,
    }  # fmt: skip


def _numbers(shape):
    product = 1
    for part in filter(None, shape.split(",")):
        product *= int(part)
    return product


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
