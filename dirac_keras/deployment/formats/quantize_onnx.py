"""In a process of its own: onnxruntime's quantizer from a float ONNX file to one of integers; int4 weights by hand."""

import numpy as np

HEAVY = ("Conv", "Gemm", "MatMul", "ConvTranspose")
INT4_OPSET = 21  # the first with integers of 4 bits


class LostKernels(Exception):
    """Layers whose kernel the converter changed or dropped: names."""


def answer(request):
    """Write integers.

    Args:
        request: dict: `source`, `path`: of the float and the integer file; `pixels`: array uint8; `weight_bits`: 8 or
            4 (then activations stay in float32); `kept`: dict, layer -> its kernel, of those that compute in float;
            `quantized`: dict, layer -> its kernel, of the others; `identity`: dict, layer -> its identity taps, where
            they are no integers; `batch`: images of a run.

    Returns: dict: `integers`, a list of the sorted integers of each kernel.
    """
    import onnx

    write = _with_int4 if request["weight_bits"] == 4 else _with_int8
    model = write(request)
    onnx.checker.check_model(model)
    onnx.save(model, request["path"])
    return {"integers": _integers(model)}


def _with_int8(request):
    import tempfile

    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared, path = f"{folder}/prepared.onnx", f"{folder}/quantized.onnx"
        # A dense layer's bias goes into its product. (From a path: what it is given as an object, it cannot read back.)
        quant_pre_process(request["source"], prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        kept = _in_float(graph, _nodes_with(graph, request["kept"]))
        quantize_static(
            prepared,
            path,
            _reader(request["pixels"], request["batch"], graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[*kept, *_outside(graph)],
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        model = onnx.load(path)
    for output in model.graph.output:
        _leave_in_float(model.graph, output.name)
    _drop_unread(model.graph)
    return model


def _reader(pixels, batch, name):
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.starts = iter(range(0, len(pixels) - batch + 1, batch))

        def get_next(self):
            start = next(self.starts, None)
            return None if start is None else {name: pixels[start : start + batch]}

    return Reader()


def _outside(graph):
    """Names of the nodes before the first product and after the logits: the image's scaling, the softmax."""
    made, outside = {}, []
    for node in graph.node:
        after = node.op_type in HEAVY or any(made.get(name) for name in node.input)
        made |= dict.fromkeys(node.output, after)
        if not after:
            outside.append(node.name)
    behind = {output.name for output in graph.output}
    for node in graph.node:
        if behind & set(node.input):
            behind |= set(node.output)
            outside.append(node.name)
    return outside


def _in_float(graph, kept):
    """Names of the nodes `kept`, and of those without a kernel that only such ones read."""
    found, readers = set(kept), {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    for node in reversed(graph.node):
        of = set().union(*(readers.get(name, ()) for name in node.output))
        if node.op_type not in HEAVY and of and of <= found:
            found.add(node.name)
    return [node.name for node in graph.node if node.name in found]


def _leave_in_float(graph, output):
    """Take the rounding of an output of the graph away: what reads it wants numbers."""
    made = {name: node for node in graph.node for name in node.output}
    last = made[output]
    if last.op_type != "DequantizeLinear" or made.get(last.input[0]) is None:
        return
    rounding = made[last.input[0]]
    source = made[rounding.input[0]]
    source.output[list(source.output).index(rounding.input[0])] = output
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == rounding.input[0] and node is not rounding:
                node.input[place] = output
    graph.node.remove(last)
    graph.node.remove(rounding)


def _drop_unread(graph):
    """Take constants away that no node reads: onnxruntime warns of each as it loads the file."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _with_int4(request):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.version_converter.convert_version(onnx.load(request["source"]), INT4_OPSET)
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    identity = {
        name: taps
        for layer, taps in request["identity"].items()
        for name in _nodes_with(graph, {layer: request["quantized"][layer]})
    }
    for number, node_name in enumerate(_nodes_with(graph, request["quantized"])):
        node = next(node for node in graph.node if node.name == node_name)
        place, name = next((p, n) for p, n in enumerate(node.input) if n in initializers)
        value = numpy_helper.to_array(initializers[name]).copy()
        taps = identity.get(node_name)
        if taps is not None:
            value[_places(value, taps)] = 0
        axis = value.ndim - 1 if node.op_type == "MatMul" else 0
        largest = np.abs(value).max(axis=tuple(a for a in range(value.ndim) if a != axis))
        scale = np.where(largest > 0, largest / 7, 1).astype("float32")
        shape = [-1 if a == axis else 1 for a in range(value.ndim)]
        integers = np.clip(np.rint(value / scale.reshape(shape)), -7, 7).astype("int8")
        kernel = f"kernel{number}"  # names as long as the layers' paths would be a third of the file
        packed = helper.make_tensor(f"{kernel}_int4", TensorProto.INT4, value.shape, _packed(integers), raw=True)
        factor = numpy_helper.from_array(scale.reshape(shape), f"{kernel}_scale")
        graph.initializer.extend([packed, factor])
        # Not DequantizeLinear: onnxruntime computes that again in every run, 5 times slower; these two as it loads.
        cast = helper.make_node("Cast", [packed.name], [f"{kernel}_cast"], f"{kernel}_cast", to=TensorProto.FLOAT)
        multiply = helper.make_node("Mul", [f"{kernel}_cast", factor.name], [f"{kernel}_grid"], f"{kernel}_grid")
        place_of_node = list(graph.node).index(node)
        graph.node.insert(place_of_node, multiply)
        graph.node.insert(place_of_node, cast)
        node.input[place] = f"{kernel}_grid"
        if taps is not None:
            node.input[place] = _with_identity(graph, node, kernel, value.shape, _places(value, taps), taps)
    _drop_unread(graph)
    return model


def _packed(integers):
    """Bytes of integers of 4 bits, the first of two in the low half."""
    flat = integers.ravel()
    pairs = np.append(flat, np.zeros(len(flat) % 2, "int8")).reshape(-1, 2)
    return ((pairs[:, 0] & 15) | (pairs[:, 1] << 4)).astype("uint8").tobytes()


def _places(value, taps):
    """Where the identity taps are in a kernel `(filters, channels, *size)`."""
    diagonal = np.arange(len(taps))
    return (diagonal, diagonal, *(side // 2 for side in value.shape[2:]))


def _with_identity(graph, node, kernel, shape, places, taps):
    """Nodes that put the identity taps into a kernel, run once as the file is loaded. Returns: what they give."""
    from onnx import helper, numpy_helper

    count = int(np.prod(shape))
    flat = np.ravel_multi_index(np.broadcast_arrays(*places), shape).astype("int32")
    constants = {
        "places": flat,
        "identity": taps.astype("float32"),
        "flat": np.array([count]),
        "shape": np.array(shape),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"{kernel}_{name}") for name, value in constants.items())
    steps = [
        ("Reshape", [f"{kernel}_grid", f"{kernel}_flat"], f"{kernel}_in_a_row"),
        ("ScatterElements", [f"{kernel}_in_a_row", f"{kernel}_places", f"{kernel}_identity"], f"{kernel}_scattered"),
        ("Reshape", [f"{kernel}_scattered", f"{kernel}_shape"], f"{kernel}_whole"),
    ]
    for operation, inputs, output in steps:
        graph.node.insert(list(graph.node).index(node), helper.make_node(operation, inputs, [output], output))
    return steps[-1][-1]


def _nodes_with(graph, kernels):
    """Names of the nodes that hold some kernels, whatever their layout."""
    from onnx import numpy_helper

    wanted, found = {name: np.sort(kernel, axis=None) for name, kernel in kernels.items()}, {}
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for name in node.input if node.op_type in HEAVY else ():
            size = int(np.prod(values[name].dims)) if name in values else None
            same = [layer for layer, kernel in wanted.items() if kernel.size == size]
            value = np.sort(numpy_helper.to_array(values[name]), axis=None) if same else None
            for layer in same:
                if np.allclose(value, wanted[layer], rtol=1e-6, atol=0):
                    found.setdefault(layer, []).append(node.name)
    lost = [layer for layer in kernels if layer not in found]
    if lost:
        raise LostKernels(lost)
    return list(dict.fromkeys(name for names in found.values() for name in names))


def _integers(model):
    """The integers of every kernel."""
    from onnx import TensorProto, numpy_helper

    found = []
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.INT8, TensorProto.INT4) and len(tensor.dims) > 1:
            found.append(np.sort(numpy_helper.to_array(tensor).astype("int8"), axis=None))
    return found
