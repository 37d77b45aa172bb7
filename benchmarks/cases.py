"""What is timed: each case is a function (options) -> alternatives.

Alternatives come in pairs: the second is what the first is held against.
"""

import keras
import numpy as np

from dirac_keras import fold
from dirac_keras.losses import SmoothedCrossentropy
from dirac_keras.models import build_diracnet
from dirac_keras.optimizers import CoupledSGD
from dirac_keras.precision import dtype_policy
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


CASES = {
    "training": training_step,
    "normalization": batch_normalization,
    "precision": precision,
    "inference": inference,
    "floor": floor,
    "input": input_pipeline,
}


def _images(batch_size):
    rng = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(rng.normal(size=(batch_size, 32, 32, 3)).astype("float32"))
    return images, keras.ops.convert_to_tensor(rng.integers(0, 10, batch_size))


def _training_step(options, name, **arguments):
    with dtype_policy(POLICIES[name]):
        model = build_diracnet(options.depth, options.width, **arguments)
    model.compile(CoupledSGD(0.01, l2=5e-4), SmoothedCrossentropy(), jit_compile=options.jit_compile)
    images, labels = _images(options.batch_size)
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
