"""In a process of its own, as it leaks memory: TensorFlow's converter from a SavedModel to a .tflite file."""

import re


class UnknownOperation(Exception):
    """An operation that the converter does not know: its type, and the names of the nodes."""


def answer(request):
    """`folder`: of the SavedModel; `path`: of the file; `precision`: float32, float16."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(request["folder"], signature_keys=["serving_default"])
    if request["precision"] == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    try:
        content = converter.convert()
    except Exception as error:
        operations = sorted({found for found in re.findall(r"tf\.(\w+)", str(error)) if found[0].isupper()})
        nodes = [node for node in _nodes(request["folder"]) if node[1] in operations]
        if not nodes:
            raise
        raise UnknownOperation(operations, [name for name, _ in nodes]) from error
    with open(request["path"], "wb") as file:
        file.write(content)
    return {}


def _nodes(folder):
    """`(name, operation)` of every node of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    with open(f"{folder}/saved_model.pb", "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    graph = saved.meta_graphs[0].graph_def
    return [(node.name, node.op) for part in (graph, *graph.library.function) for node in _of(part)]


def _of(part):
    return part.node if hasattr(part, "node") else part.node_def
