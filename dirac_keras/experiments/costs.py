"""How long a run takes on this machine, from a few steps of the smallest networks of its kind.

The layers of a kind of network are alike, so a step's time is linear in the depth: two depths are measured, others are
computed from them. The images are random; reading and augmenting them, which runs beside the steps, is not counted.
Networks that are trained side by side are measured side by side.
"""

import dataclasses
import json
import logging
import math
import pathlib
import time
import types

import keras
import numpy as np

from dirac_keras.experiments.side_by_side import compiled_side_by_side
from dirac_keras.files.atomic import write_text
from dirac_keras.files.records import read_record
from dirac_keras.graph.costs import count_macs
from dirac_keras.models.family import find_family
from dirac_keras.precision import resolve_precision
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.folder.directory import machine
from dirac_keras.training.hardware import device

logger = logging.getLogger("dirac_keras")

CACHE = "costs.json"
# Data set -> shape of an image, classes, training and test images: data that are absent have a cost too.
FACTS = {
    "digits": ((8, 8, 1), 10, 1438, 359),
    "cifar10": ((32, 32, 3), 10, 50_000, 10_000),
    "cifar100": ((32, 32, 3), 100, 50_000, 10_000),
    "mnist": ((28, 28, 1), 10, 60_000, 10_000),
    "fashion_mnist": ((28, 28, 1), 10, 60_000, 10_000),
    "usps": ((16, 16, 1), 10, 7291, 2007),
    "coil20": ((32, 32, 1), 20, 1008, 432),
    "imagenet2012": ((224, 224, 3), 1000, 1_281_167, 50_000),
}
DENSE_DEPTHS = (2, 16)  # whose first layer is as dear as several others; far apart, as what one is off is multiplied
FORWARD = 1 / 3  # of a training step is its forward pass: the backward pass has two products for each of its one
CPU_MACS = 5e9  # of the forward pass of a step that is measured without a GPU; more images take proportionally more
SECONDS, MOST_STEPS = 1.0, 100  # of a measurement, after the first steps, which compile
QUANTILE = 0.25  # of the steps' times: other work on the cores delays single steps, and none is ever too short
# Fields of a config that change nothing of a step's time, or that are taken account of otherwise.
APART = frozenset(
    (
        *("data", "data_dir", "validation", "augmentation", "on_broken", "exif_orientation", "max_pixels", "max_train"),
        *("max_test", "image_size", "depth", "kernel_initializer", "filter_scale", "gate_bias", "recipe", "epochs"),
        *("learning_rate", "learning_rate_scaling", "base_batch_size", "schedule", "warmup_fraction", "momentum"),
        *("start_fraction", "end_fraction", "decay_epochs", "decay_factor", "weight_decay", "label_smoothing"),
        *("phase_out_fraction", "phase_out_start", "phase_out_end", "skip_constraint", "precision", "seed"),
        *("keep_checkpoints", "checkpoint_steps", "checkpoint_seconds", "test_time_augmentation", "tracker"),
    )
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What of a data set decides the time: `image_shape`, `num_classes`, images of training and test."""

    image_shape: tuple
    num_classes: int
    num_train: int
    num_test: int


def facts_of(config):
    """The `Facts` of a config's data set; None of a folder, whose images would have to be counted."""
    if config.data not in FACTS:
        return None
    shape, classes, train, test = FACTS[config.data]
    if config.image_size is not None:
        shape = (config.image_size, config.image_size, shape[-1])
    held = config.validation if config.validation >= 1 else round(config.validation * train)
    return Facts(shape, classes, min(train - held, config.max_train or train), min(test, config.max_test or test))


class Costs:
    """Seconds of a step by kind of network and depth, measured once and kept in a file.

    Args:
        path: of the file; it is made when something is measured.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.seconds = {}  # key -> seconds of a step
        if self.path.exists():
            way_out = "Remove it: it is measured again."
            self.seconds = read_record(self.path, dict[str, float], "a table of measured steps", way_out)
        self.measured = 0

    def minutes(self, config, together=1):
        """Estimated minutes of a training, its tests after every epoch included; None if not known.

        Args:
            config: `TrainConfig`.
            together: int, networks of it that are trained in one step; the minutes are those of all.
        """
        facts = facts_of(config)
        if facts is None:
            return None
        step = self.seconds_per_step(config, facts, together)
        steps = facts.num_train // config.batch_size
        tests = math.ceil(facts.num_test / config.batch_size)
        return config.epochs * (steps + FORWARD * tests) * step / 60

    def seconds_per_step(self, config, facts, together=1):
        """Of the config's depth, on the line through the two depths that are measured."""
        low, high = _depths(config)
        if low == high:
            return self._at(config, facts, low, together)
        first, second = (self._at(config, facts, depth, together) for depth in (low, high))
        slope = max(0.0, (second - first) / (high - low))
        return max(first + slope * (config.depth - low), first / 2)

    def _at(self, config, facts, depth, together):
        config = dataclasses.replace(config, depth=depth)
        key = _key(config, facts, together)
        if key not in self.seconds:
            self.measured += 1
            logger.info("measuring a few steps (%d): %s", self.measured, _label(config, facts, together))
            self.seconds[key] = measure_step(config, facts, together)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(self.seconds, indent=2) + "\n")
        return self.seconds[key]


def measure_step(config, facts, together=1):
    """Seconds of a training step on random images: the lower quartile of a few, without the first ones.

    Args:
        config: `TrainConfig`.
        facts: `Facts` of its data.
        together: int, networks that are trained in one step.
    """
    policy = resolve_precision(config.precision)[0]
    spec = types.SimpleNamespace(image_shape=facts.image_shape, num_classes=facts.num_classes)
    models = [untrained_model(config, spec, policy) for _ in range(together)]
    steps_per_epoch = max(1, facts.num_train // config.batch_size)
    batch, beside = config.batch_size, ()
    if together == 1:
        (model,) = models
        compile_model(model, config, steps_per_epoch)
    else:
        model, beside = compiled_side_by_side(models, config, steps_per_epoch), (together,)
    if device() is None and together == 1:  # what is trained together is thin
        batch = max(8, min(batch, round(CPU_MACS / max(1, sum(count_macs(model).values())))))
        batch = min(batch, config.batch_size)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *beside, *facts.image_shape)).astype("float32")
    labels = rng.integers(0, facts.num_classes, (batch, *beside))
    _steps(model, images, labels, 1)
    steps = min(MOST_STEPS, max(3, math.ceil(SECONDS / _steps(model, images, labels, 2))))
    seconds = _steps(model, images, labels, steps)
    keras.utils.clear_session(free_memory=False)
    return seconds * config.batch_size / batch


def _steps(model, images, labels, count):
    """Seconds of one of `count` steps on the same images: from the end of one to that of the next."""
    ends = [time.perf_counter()]
    at_end = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    images, labels = (np.tile(one, (count, *(1,) * (one.ndim - 1))) for one in (images, labels))
    model.fit(images, labels, batch_size=len(labels) // count, shuffle=False, verbose=0, callbacks=[at_end])
    return float(np.quantile(np.diff(ends[1:] if count > 1 else ends), QUANTILE))


def _depths(config):
    """The two depths that a kind of network is measured at."""
    layout = find_family(config.family).layout(config.layout)
    if layout.size == "units":
        return DENSE_DEPTHS
    depths = (depth for depth in range(1, config.depth + 1) if layout.has_depth(depth))
    low = next(depths)
    return low, next(depths, low)


def _key(config, facts, together):
    """What decides a step's time, as text: of the network, of the images, of the machine."""
    fields = {name: value for name, value in sorted(config.to_dict().items()) if name not in APART}
    if "sigma" in fields:
        fields["sigma"] = fields["sigma"] is not None
    policy = resolve_precision(config.precision)[0]
    place = (keras.backend.backend(), policy, device() or machine())
    beside = [together] if together > 1 else []
    return json.dumps([config.depth, fields, facts.image_shape, *place, *beside])  # a classifier of any size is cheap


def _label(config, facts, together):
    words = [word for word in find_family(config.family).network_label(config) if word]
    beside = f", {together} side by side" if together > 1 else ""
    return f"{' '.join(words)}, {'x'.join(map(str, facts.image_shape))}, batches of {config.batch_size}{beside}"
