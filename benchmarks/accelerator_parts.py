"""What `python -m benchmarks accelerator` measures: each part a function of its options that returns figures."""

import csv
import dataclasses
import statistics
import tempfile
import time

import numpy as np

# Published peaks, dense, TFLOP/s in bfloat16 (float16 for V100 and T4), by JAX's name of the device.
PEAKS = {
    "NVIDIA H200": 989,
    "NVIDIA H100 80GB HBM3": 989,
    "NVIDIA H100 PCIe": 756,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-SXM4-40GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA L40S": 362,
    "NVIDIA L4": 121,
    "Tesla V100-SXM2-16GB": 125,
    "Tesla T4": 65,
    "TPU v4": 275,
    "TPU v5 lite": 197,
    "TPU v5p": 459,
    "TPU v6 lite": 918,
}
EPOCHS = 3  # of which the last is timed: the first compiles, and finds its chunk length


@dataclasses.dataclass(frozen=True)
class Part:
    """One measurement.

    Attributes:
        way: name in `WAYS`.
        depth, width, batch_size: of the network, and of a step.
        steps: int, of the timed epoch.
        precision: `"auto"`, `"float32"` or `"bfloat16"`.
        seeds: int, networks of `way="seeds"`.
    """

    way: str
    depth: int = 28
    width: float = 1.0
    batch_size: int = 128
    steps: int = 200
    precision: str = "auto"
    seeds: int = 4

    @property
    def name(self):
        """In words."""
        size = f"{self.depth}-{self.width:g}"
        return f"{size} {self.way}" + (f" x {self.seeds}" if self.way == "seeds" else "")


def measure(part):
    """The figures of a part: a dict, JSON-safe."""
    figures = WAYS[part.way](part)
    step = figures.get("step_ms")
    if step:
        figures["images_s"] = 1e3 * part.batch_size / step
    return figures


def through_train(part):
    """`train` itself, as a user calls it."""
    return _through_train(part)


def through_fit(part):
    """`train` with Keras' `fit`, each step on its own and its batch from the host."""
    return _through_train(part, steps_per_execution=1, data_on_device="no")


def _through_train(part, **execution):
    from dirac_keras.training import train

    config, splits = config_of(part), _splits(part)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = train(config, splits, f"{folder}/run", **execution)
        seconds = time.perf_counter() - start
        with open(result.run.metrics, newline="") as file:
            rows = list(csv.DictReader(file))
    last = rows[-1]
    step = 1e3 * float(last["seconds"]) / part.steps
    first = 1e3 * float(rows[0]["seconds"]) / part.steps
    return {
        "step_ms": step,
        "compile_s": max(0.0, (first - step) * part.steps / 1e3),  # what the first epoch took more
        "input_wait_share": float(last["input_wait_share"]) if last.get("input_wait_share") else None,
        "whole_run_s": seconds,
        **_arithmetic(result.model, part, step),
    }


def bare_scan(part):
    """The same step in one `lax.scan` of so many steps, with nothing around it."""
    import jax

    from dirac_keras.distribution import Placement
    from dirac_keras.training.chunks.feeds import StoredFeed
    from dirac_keras.training.chunks.state import ModelState
    from dirac_keras.training.stepping.position import build_metrics

    splits = _splits(part)
    model = _compiled_model(part, splits)
    model.optimizer.build(model.trainable_variables)
    build_metrics(model)
    feed = StoredFeed(splits, part.steps, Placement("one"))
    feed.begin(0)
    chunk = feed.take(part.steps)

    def run(state, constants, chunk):
        def body(state, item):
            _, state = model.train_step(state, feed.batch(constants, item))
            return tuple(map(list, state)), None

        return jax.lax.scan(body, state, chunk)[0]

    state = ModelState(model).take()
    start = time.perf_counter()
    program = jax.jit(run, donate_argnums=0).lower(state, feed.constants, chunk).compile()
    compiled = time.perf_counter() - start
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        state = jax.block_until_ready(program(state, feed.constants, chunk))
        seconds.append(time.perf_counter() - start)
    step = 1e3 * statistics.median(seconds[1:]) / part.steps
    return {"step_ms": step, "compile_s": compiled, **_arithmetic(model, part, step)}


def torch_eager(part):
    """The authors' network in PyTorch, as they ran it."""
    from benchmarks import torch_diracnet

    return torch_diracnet.time_steps(part, is_compiled=False)


def torch_compiled(part):
    """The same under `torch.compile`."""
    from benchmarks import torch_diracnet

    return torch_diracnet.time_steps(part, is_compiled=True)


def seeds_together(part):
    """Several seeds as one program against as many runs: seconds and the largest difference of a weight."""
    from dirac_keras.training import train, train_seeds

    config, seeds = config_of(part), range(part.seeds)
    splits = [_splits(part, seed) for seed in seeds]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        together = train_seeds(config, splits, [f"{folder}/t{seed}" for seed in seeds], seeds)
        seconds = {"together_s": time.perf_counter() - start}
        start = time.perf_counter()
        alone = [
            train(dataclasses.replace(config, seed=seed), splits[seed], f"{folder}/a{seed}", data_on_device="yes")
            for seed in seeds
        ]
        seconds["alone_s"] = time.perf_counter() - start
        steps = {
            f"{name}_step_ms": 1e3 * sum(float(result.history[-1]["seconds"]) for result in results) / part.steps
            for name, results in (("together", together), ("alone", alone))
        }
    differences = [
        float(np.max(np.abs(np.asarray(mine, "float64") - np.asarray(theirs, "float64")), initial=0.0))
        for one, other in zip(together, alone, strict=True)
        for mine, theirs in zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    ]
    accuracies = [[result.summary["test_accuracy"] for result in results] for results in (together, alone)]
    return {
        **seconds,
        **steps,
        "policy": together[0].model.dtype_policy.name,
        "largest_difference": max(differences),
        "test_accuracies": accuracies,
        **_memory(),
    }


WAYS = {
    "train": through_train,
    "scan": bare_scan,
    "fit": through_fit,
    "torch": torch_eager,
    "torch compiled": torch_compiled,
    "seeds": seeds_together,
}


def config_of(part):
    """The `TrainConfig` of a part. Raises: UserError: if there is none."""
    from dirac_keras.training import TrainConfig

    return TrainConfig(
        data="cifar10", family="diracnet", depth=part.depth, width=part.width, batch_size=part.batch_size,
        epochs=EPOCHS, precision=part.precision, checkpoint_seconds=None,
    )  # fmt: skip


def _splits(part, seed=0):
    from benchmarks.random_images import random_splits

    return random_splits(part.batch_size * part.steps, part.batch_size, seed)


def _compiled_model(part, splits):
    from dirac_keras.precision import resolve_precision
    from dirac_keras.training import compile_model, untrained_model

    config = config_of(part)
    model = untrained_model(config, splits.spec, resolve_precision(config.precision)[0])
    compile_model(model, config, part.steps)
    return model


def _arithmetic(model, part, step_ms):
    """TFLOP/s of the convolutions and the dense layer, and their share of the chip's peak where that is known."""
    import jax

    from dirac_keras.graph.costs import count_costs

    # Forward, by the inputs and by the weights: three products of two tensors, of which each is two operations.
    flops = 3 * 2 * count_costs(model).total * part.batch_size
    speed = flops / (1e9 * step_ms)
    peak = PEAKS.get(jax.local_devices()[0].device_kind)
    is_mixed = model.dtype_policy.name.startswith("mixed")
    share = speed / peak if peak and is_mixed else None
    return {"policy": model.dtype_policy.name, "tflops": speed, "peak_share": share, **_memory()}


def _memory():
    """Largest memory of the device in MiB; None on a CPU."""
    import jax

    peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {"device_mib": peak / 2**20 if peak else None}
