"""What is timed: each case is a function (options) -> alternatives.

Alternatives come in pairs: the second is what the first is held against.
"""

import types

import keras
import numpy as np

from dirac_keras import SkipPhaseOut, fold
from dirac_keras.callbacks.timing import StepTimes
from dirac_keras.distribution import Placement
from dirac_keras.models import build_diracnet, build_resnet, build_van
from dirac_keras.precision import dtype_policy
from dirac_keras.training.optimization.losses import SmoothedCrossentropy
from dirac_keras.training.optimization.optimizers import CoupledSGD
from dirac_keras.training.stepping.position import Position
from dirac_keras.training.stepping.resumable_fit import fit_from
from pipelines import DataError, load_splits

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def training_step(options):
    """Training step: Dirac against plain convolutions."""
    return {
        f"{kind} {precision}": _training_step(options, precision, parameterization=kind)
        for precision in options.precisions
        for kind in ("dirac", "plain")
    }


def batch_normalization(options):
    """Training step: our BatchNormalization against Keras'."""
    return {
        f"{name} {precision}": _training_step(options, precision, **arguments)
        for precision in options.precisions
        for name, arguments in (
            ("ours", {}),
            ("Keras", {"normalization": keras.layers.BatchNormalization}),
        )
    }


def precision(options):
    """Training step: bfloat16 against float32."""
    return {name: _training_step(options, name) for name in ("bfloat16", "float32")}


def inference(options):
    """Inference: folded against unfolded, with our BatchNormalization and with Keras'."""
    alternatives = {}
    for name in options.precisions:
        for whose, arguments in (("ours", {}), ("Keras", {"normalization": keras.layers.BatchNormalization})):
            with dtype_policy(POLICIES[name]):
                model = build_diracnet(options.depth, options.width, **arguments)
            folded, _ = fold(model, verify=False)
            alternatives[f"folded {name} ({whose})"] = _inference(folded, options.batch_size)
            alternatives[f"unfolded {name} ({whose})"] = _inference(model, options.batch_size)
    return alternatives


def floor(options):
    """What is left to save: the folded network against bare convolutions, normalization against none."""
    alternatives = {}
    for name in options.precisions:
        with dtype_policy(POLICIES[name]):
            folded, _ = fold(build_diracnet(options.depth, options.width), verify=False)
        alternatives[f"inference, folded {name}"] = _inference(folded, options.batch_size)
        alternatives[f"inference, convolutions alone {name}"] = _inference(_bare(folded), options.batch_size)
        alternatives[f"training, our normalization {name}"] = _training_step(options, name)
        none = {"normalization": lambda name, **_: keras.layers.Identity(name=name)}
        alternatives[f"training, no normalization {name}"] = _training_step(options, name, **none)
    return alternatives


def skips(options):
    """Training step: a VAN, its multipliers moving, against the ResNet it begins as; convolutional, then dense."""
    builders = {
        "conv-26": (
            lambda: build_van("conv", depth=26, width=options.width),
            lambda: build_resnet(26, options.width, layout="van"),
        ),
        "dense-30": (
            lambda: build_van("dense", depth=30),
            lambda: build_resnet(30, layout="dense", input_shape=(28, 28, 1)),
        ),
    }
    alternatives = {}
    for size, (van, resnet) in builders.items():
        for name in options.precisions if size.startswith("conv") else ("float32",):  # the dense recipe is float32
            alternatives[f"VAN {size} {name}"] = _training_step(options, name, van, phase_out=True)
            alternatives[f"ResNet {size} {name}"] = _training_step(options, name, resnet)
    return alternatives


def input_pipeline(options):
    """A batch of CIFAR-10 with crop and flip against the training step that consumes it."""
    try:
        splits = load_splits("cifar10", batch_size=options.batch_size, data_dir=options.data_dir)
    except DataError as error:
        raise SystemExit(f"input: {error}") from None
    stream = iter(splits.train())
    chunk = 40  # a single batch would be timed out of the prefetch buffer

    def batches():
        for _ in range(chunk):
            next(stream)

    step = _training_step(options, options.precisions[0])

    def steps():
        for _ in range(chunk):
            step()

    return {f"input, {chunk} batches": batches, f"training, {chunk} steps": steps}


def observation(options):
    """`fit` whose steps and input are timed by StepTimes against `fit` alone, on a batch that is always there."""
    alternatives = {}
    for name in options.precisions:
        for label, callbacks in (("timed", lambda: [StepTimes()]), ("alone", list)):
            alternatives[f"{label}, {name}"] = _fit(options, name, callbacks)
    return alternatives


def strategy(options):
    """Strategy `one` against bare `fit`: what is between on one device, the run's callbacks that write aside."""
    place = Placement("one")
    alternatives = {}
    for name in options.precisions:
        alternatives[f"strategy one, {name}"] = _fit(options, name, list, place)
        alternatives[f"fit, {name}"] = _fit(options, name, list)
    return alternatives


def _fit(options, name, make_callbacks, place=None, steps=20):
    """A function that trains so many steps; one model for all calls, so that each compiles once."""
    with dtype_policy(POLICIES[name]):
        model = build_diracnet(options.depth, options.width)
    model.compile(CoupledSGD(0.01, l2=5e-4), SmoothedCrossentropy(), jit_compile=options.jit_compile)
    images, labels = _images(options.batch_size, model.input_shape[1:])
    import tensorflow as tf

    batch = tuple(tf.constant(keras.ops.convert_to_numpy(part)) for part in (images, labels))
    unhurried = tf.data.Options()
    unhurried.autotune.enabled = False  # its thread can hold an iterator's end, and so a call, back for seconds
    data = tf.data.Dataset.from_tensors(batch).repeat().prefetch(4).with_options(unhurried)
    if place is not None:
        return _fit_in_place(model, data, place, steps)
    return lambda: model.fit(data, steps_per_epoch=steps, callbacks=make_callbacks(), shuffle=False, verbose=0)


def _fit_in_place(model, data, place, steps):
    """The same as `train` does it at a place."""
    with place.scope():
        model = place.prepare(model)
    splits = types.SimpleNamespace(train=lambda start_step: data)

    def fit():
        with place.naming_lost_workers(), place.running():
            fit_from(model, Position(), lambda step: place.train_data(splits, step), 1, steps, None, [])

    return fit


CASES = {
    "training": training_step,
    "observation": observation,
    "strategy": strategy,
    "normalization": batch_normalization,
    "precision": precision,
    "inference": inference,
    "floor": floor,
    "skips": skips,
    "input": input_pipeline,
}
LONG = ("input", "observation", "strategy")  # one call of them is many steps


def _images(batch_size, shape=(32, 32, 3)):
    rng = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(rng.normal(size=(batch_size, *shape)).astype("float32"))
    return images, keras.ops.convert_to_tensor(rng.integers(0, 10, batch_size))


def _training_step(options, name, build=None, phase_out=False, **arguments):
    with dtype_policy(POLICIES[name]):
        model = build() if build else build_diracnet(options.depth, options.width, **arguments)
    model.compile(CoupledSGD(0.01, l2=5e-4), SmoothedCrossentropy(), jit_compile=options.jit_compile)
    images, labels = _images(options.batch_size, model.input_shape[1:])
    if phase_out:
        callback = SkipPhaseOut(0.1)
        callback.set_params({"epochs": 2, "steps": 10**6})
        callback.set_model(model)
        callback.on_train_begin()
    return lambda: model.train_on_batch(images, labels)


def _bare(model):
    """The same chain without biases and ReLUs."""

    def strip(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.Conv2D):
            config |= {"use_bias": False, "activation": "linear"}
        if isinstance(layer, (keras.layers.ReLU, keras.layers.Activation)):
            return keras.layers.Identity(name=layer.name)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=strip)


def _inference(model, batch_size):
    images, _ = _images(batch_size)
    model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
    return lambda: model.predict_on_batch(images)
