"""In a process of its own: NNCF from a float representation of OpenVINO to one of integers; int4 weights by hand."""

import numpy as np

HEAVY = ("Convolution", "GroupConvolution", "MatMul")


class LostKernels(Exception):
    """Layers whose kernel the converter changed or dropped: names."""


def answer(request):
    """Write integers.

    Args:
        request: dict: `source`, `path`: of the float and the integer .xml; `pixels`: array uint8; `weight_bits`: 8 or
            4 (then activations stay in float32); `kept`: dict, layer -> its kernel, of those that compute in float;
            `quantized`: dict, layer -> its kernel, of the others; `identity`: dict, layer -> its identity taps, where
            they are no integers; `batch`: images of a run.

    Returns: dict: `integers`, a list of the sorted integers of each kernel.
    """
    import sys

    sys.modules["openvino_telemetry"] = None  # which reports each conversion to its makers
    import openvino

    network = openvino.Core().read_model(request["source"])
    if request["weight_bits"] == 4:
        _store_int4(network, request["quantized"], request["identity"])
    else:
        network = _with_int8(network, request)
    openvino.save_model(network, request["path"], compress_to_fp16=False)
    return {"integers": _integers(openvino.Core().read_model(request["path"]))}


def _with_int8(network, request):
    """NNCF without what moves the kernels off their grid: halved weights, aligned channels, its own biases."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    name = network.inputs[0].get_any_name()
    pixels, batch = request["pixels"], request["batch"]
    starts = range(0, len(pixels) - batch + 1, batch)
    kept = _in_float(network, [node.get_friendly_name() for node, _ in _nodes_with(network, request["kept"])])
    return nncf.quantize(
        network,
        nncf.Dataset([{name: pixels[start : start + batch]} for start in starts]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(starts),
        ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.DISABLE,
            disable_bias_correction=True,
            disable_channel_alignment=True,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def _in_float(network, kept):
    """Names of the nodes `kept`, and of those without a kernel that only such ones read."""
    found = set(kept)
    for node in reversed(network.get_ordered_ops()):
        of = {target.get_node().get_friendly_name() for out in node.outputs() for target in out.get_target_inputs()}
        computes = node.get_type_name() not in (*HEAVY, "Constant", "Convert", "Parameter", "Result")
        if computes and of and of <= found:
            found.add(node.get_friendly_name())
    return sorted(found)


def _store_int4(network, kernels, identity):
    import openvino
    from openvino import opset13 as operations

    with_identity = {
        node.get_friendly_name(): taps
        for layer, taps in identity.items()
        for node, _ in _nodes_with(network, {layer: kernels[layer]})
    }
    for node, place in _nodes_with(network, kernels):
        value = _value(node.input_value(place)).astype("float32").copy()
        taps = with_identity.get(node.get_friendly_name())
        if taps is not None:
            diagonal = np.arange(len(taps))
            places = (diagonal, diagonal, *(side // 2 for side in value.shape[2:]))  # of (filters, channels, *size)
            value[places] = 0
        axis = _axis(node, value.ndim)
        largest = np.abs(value).max(axis=axis, keepdims=True)
        scale = np.where(largest > 0, largest / 7, 1).astype("float32")
        integers = np.clip(np.rint(value / scale), -7, 7).astype("int8").ravel()
        pairs = np.append(integers, np.zeros(len(integers) % 2, "int8")).reshape(-1, 2)
        packed = ((pairs[:, 0] & 15) | (pairs[:, 1] << 4)).astype("uint8")  # the first in the low half
        stored = operations.constant(openvino.Tensor(packed, value.shape, openvino.Type.i4), shared_memory=False)
        restored = operations.multiply(operations.convert(stored, "f32"), operations.constant(scale))
        if taps is not None:  # a constant once the file is loaded
            flat = np.ravel_multi_index(np.broadcast_arrays(*places), value.shape).astype("int32")
            row = operations.reshape(restored, np.array([-1]), special_zero=False)
            row = operations.scatter_elements_update(row, flat, taps.astype("float32"), np.array(0))
            restored = operations.reshape(row, np.array(value.shape), special_zero=False)
        node.input(place).replace_source_output(restored.output(0))
    network.validate_nodes_and_infer_types()


def _value(output):
    """The numbers of a constant, behind what turns it to the layout of its reader."""
    import openvino

    if output.get_node().get_type_name() == "Constant":
        return output.get_node().get_data()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(openvino.Model([output], []), "CPU", options)([])[0]


def _axis(node, dimensions):
    """The axes over which a filter's weights lie."""
    if node.get_type_name() == "MatMul":  # (units, inputs) if transposed
        return dimensions - 1 if node.get_attributes()["transpose_b"] else dimensions - 2
    first = 2 if node.get_type_name() == "GroupConvolution" else 1
    return tuple(range(first, dimensions))


def _constant(node):
    """The constant behind a node, through what only changes its type or shape; or None."""
    while node.get_type_name() in ("Convert", "Reshape", "Transpose", "Multiply", "FakeQuantize"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _nodes_with(network, kernels):
    """`(node, place of the kernel)` of those that hold some kernels, whatever their layout."""
    wanted, found, lost = {name: np.sort(kernel, axis=None) for name, kernel in kernels.items()}, [], set(kernels)
    for node in network.get_ordered_ops():
        for place in range(node.get_input_size()) if node.get_type_name() in HEAVY else ():
            constant = _constant(node.input_value(place).get_node())
            if constant is None:
                continue
            value = np.sort(constant.get_data(), axis=None)
            same = [
                name
                for name, kernel in wanted.items()
                if kernel.size == value.size and np.allclose(value, kernel, rtol=1e-6, atol=0)
            ]
            if same:
                found.append((node, place))
                lost -= set(same)
    if lost:
        raise LostKernels(sorted(lost))
    return found


def _integers(network):
    """The integers of every kernel."""
    found = []
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Multiply" or node.input_value(0).get_node().get_type_name() != "Convert":
            continue
        stored = node.input_value(0).get_node().input_value(0).get_node()
        scale = node.input_value(1).get_node()
        if stored.get_type_name() == scale.get_type_name() == "Constant" and len(stored.shape) > 1:
            integers = np.asarray(stored.get_data()).astype("int8")
            if str(stored.get_element_type()).startswith("<Type: 'int4"):
                integers = _unpacked(stored)
            found.append(np.sort(integers, axis=None))
    return found


def _unpacked(constant):
    packed = np.asarray(constant.get_data()).view("int8").ravel()
    count = int(np.prod(list(constant.shape)))
    if len(packed) >= count:
        return packed[:count]
    return np.stack([(packed << 4).astype("int8") >> 4, packed >> 4], axis=1).reshape(-1)[:count]
