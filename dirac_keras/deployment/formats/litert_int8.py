"""LiteRT in integers throughout, by litert-quantizer: uint8 image in, int8 outputs; int8 or int4 weights."""

import pathlib
import tempfile

import keras
import numpy as np

from dirac_keras.deployment.feeding import input_type
from dirac_keras.deployment.formats.integers import quantize_in_child, request_of
from dirac_keras.deployment.formats.litert import SCRIPT as CONVERT
from dirac_keras.deployment.formats.litert import run_converter
from dirac_keras.deployment.formats.to_saved_model import write_saved_model
from dirac_keras.deployment.served import INPUT, call_network, name_outputs
from dirac_keras.graph.inputs import fixed_batch

SCRIPT = pathlib.Path(__file__).with_name("quantize_litert.py")


def write_int8(job, path):
    """Write a job's integer artefact to `path`; returns notes."""
    with tempfile.TemporaryDirectory() as folder:
        source, saved = f"{folder}/float32.tflite", f"{folder}/saved_model"
        batch = job.batch or fixed_batch(job.model)
        write_saved_model(_served(job, batch), saved, batch, job.format)
        run_converter(job, CONVERT, {"folder": saved, "path": source, "precision": "float32"})
        return quantize_in_child(job, SCRIPT, request_of(job, source, path), "litert-quantizer")


def _served(job, batch=None):
    """The network with pixels as floats, and its own outputs alone; one probability becomes those of two classes.

    The preprocessing is a depthwise convolution of one tap: as integers that has a scale for each channel and a bias of
    32 bits, so that the scaled image is rounded once. A product and a sum would be rounded each, by one scale for all
    channels, and the means with them.
    """
    spec = job.spec
    images = keras.Input(batch_shape=(batch, *spec.image_shape), dtype="float32", name=INPUT)
    takes = input_type(job.model)
    mean, std = np.asarray(spec.mean, "float32"), np.asarray(spec.std, "float32")
    scaled = images
    if "float" in takes and (mean.any() or (std != 1).any()):
        scale = keras.layers.DepthwiseConv2D(1, dtype="float32", name="preprocessing")
        scaled = scale(images)
        scale.set_weights([(1 / std).reshape(1, 1, -1, 1), -mean / std])
    given = call_network(job.model, scaled if takes == "float32" else keras.ops.cast(scaled, takes))
    (given,) = keras.tree.flatten(given)
    return keras.Model(images, name_outputs(given, job.head, (job.head.gives,)), name="served")
