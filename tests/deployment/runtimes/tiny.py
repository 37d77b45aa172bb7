"""Artefacts of a few bytes, made by each format's own library: logits are the sums of each channel."""

import json

import numpy as np

SHAPE = (4, 2, 3)  # height, width, channels
CLASSES = 3


def write_onnx(path, weights=None, batch="batch", metadata=None, shape=SHAPE):
    """`logits = (sum over the image of each channel) @ weights`, from uint8 images."""
    import onnx
    from onnx import TensorProto, helper

    weights = np.eye(CLASSES) if weights is None else weights
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["real", "axes"], ["sums"], keepdims=0),
        helper.make_node("MatMul", ["sums", "weights"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.astype("float32").ravel()),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, weights.shape[1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()})
    onnx.save(model, path)
    return path


def write_openvino(path):
    """The sums of each channel of uint8 images, in OpenVINO's own operations."""
    import openvino
    from openvino import opset13 as ops

    images = ops.parameter([-1, *SHAPE], np.uint8, name="images")
    sums = ops.reduce_sum(ops.convert(images, np.float32), np.array([1, 2]), False)
    sums.output(0).set_names({"logits"})
    openvino.save_model(openvino.Model([sums], [images], "tiny"), path, compress_to_fp16=False)
    path.with_suffix(".json").write_text(json.dumps({"labels": ["a", "b", "c"]}))
    return path


def write_saved_model(path):
    """The same as TensorFlow's SavedModel, and its signature `twice`."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8, "images")])
    def once(images):
        return {"logits": tf.reduce_sum(tf.cast(images, tf.float32), (1, 2))}

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8, "images")])
    def twice(images):
        return {"logits": 2.0 * once(images)["logits"]}

    tf.saved_model.save(module, str(path), {"serving_default": once, "twice": twice})
    return path


def images(count=5, seed=0):
    """uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def sums(pictures):
    """What the artefacts give."""
    return pictures.astype("float32").sum((1, 2))
