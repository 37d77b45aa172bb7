"""In a process of its own: tf2onnx from a SavedModel to an ONNX file."""


def answer(request):
    """`folder`: of the SavedModel; `path`: of the file; `opset`: int; `float16`: bool.

    Returns: dict: `unknown`, a list of `(name, operation)` that ONNX does not have.
    """
    import logging

    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    loaded = tf.saved_model.load(request["folder"])
    served = loaded.signatures["serving_default"]
    names = list(served.structured_input_signature[1])

    @tf.function
    def serve(*tensors):
        return served(**dict(zip(names, tensors, strict=True)))

    specs = [served.structured_input_signature[1][name] for name in names]
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(specs, names, strict=True)]
    model, _ = tf2onnx.convert.from_function(serve, input_signature=specs, opset=request["opset"])
    # What it cannot convert, it leaves as it is.
    unknown = [
        (node.name, node.op_type)
        for node in model.graph.node
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type)
    ]
    if unknown:
        return {"unknown": unknown}
    if request["float16"]:
        model = _to_float16(model)
    onnx.save(model, request["path"])
    return {"unknown": []}


def _to_float16(model):
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    blocked = [*DEFAULT_OP_BLOCK_LIST, "Softmax"]
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked))
    converted.topological_sort()  # casts are added at the end
    return converted.model
