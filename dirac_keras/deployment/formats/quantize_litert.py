"""In a process of its own, without TensorFlow: litert-quantizer from a float .tflite file to one of integers."""

import collections

import numpy as np


class LostKernels(Exception):
    """Layers whose kernel the converter changed or dropped: names."""


def answer(request):
    """Write integers.

    Args:
        request: dict: `source`, `path`: of the float and the integer file; `pixels`: array uint8; `weight_bits`: 8 or
            4; `kept`: dict, layer -> its kernel, of those that compute in float; `quantized`: dict, layer -> its
            kernel, of the others; `batch`: images of a run.

    Returns: dict: `integers`, a list of the sorted integers of each kernel.
    """
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.recipe import AlgorithmName

    with open(request["source"], "rb") as file:
        source = file.read()
    operations = qtyping.TFLOperationName
    quantize = quantizer.Quantizer(source)
    quantize.add_static_config(".*", operations.ALL_SUPPORTED, 8, 8)
    if request["weight_bits"] == 4:  # what has no such kernel stays at 8 bits
        for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
            quantize.add_static_config(".*", operation, 8, 4)
    quantize.update_quantization_recipe(
        ".*",
        operations.INPUT,
        qtyping.OpQuantizationConfig(
            activation_tensor_config=qtyping.TensorQuantizationConfig(
                8, symmetric=False, dtype=qtyping.TensorDataType.UINT
            ),
            weight_tensor_config=qtyping.TensorQuantizationConfig(8),
            compute_precision=qtyping.ComputePrecision.INTEGER,
        ),
    )
    for pattern in _outputs_of(source, request["kept"], request["quantized"]):
        quantize.update_quantization_recipe(pattern, operations.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ranges = _ranges(source, quantize, request["pixels"], request["batch"])
    content = _with_data_inside(bytes(quantize.quantize(ranges).quantized_model))
    with open(request["path"], "wb") as file:
        file.write(content)
    return {"integers": _integers(content)}


def _with_data_inside(content):
    """The same file with its kernels in the flatbuffer: from 256 kB on, litert-quantizer writes them behind it, where
    whoever changes the flatbuffer (to add metadata, say) loses them."""
    from ai_edge_litert.tools import flatbuffer_utils
    from litert_quantizer.utils import tfl_flatbuffer_utils

    model = tfl_flatbuffer_utils.read_model(memoryview(content))
    for buffer in model.buffers:
        if buffer.offset and buffer.size:
            if buffer.data is None:
                buffer.data = np.frombuffer(content[buffer.offset : buffer.offset + buffer.size], "uint8")
            buffer.offset = buffer.size = 0
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _ranges(source, quantize, pixels, batch):
    """Least and largest number of every tensor over all images; of the image, 0 to 255."""
    from litert_quantizer.calibrator import Calibrator
    from litert_quantizer.recipe_manager import RecipeManager
    from litert_quantizer.utils.qsv_utils import min_max_update

    recipes = RecipeManager()
    recipes.load_quantization_recipe(quantize.get_quantization_recipe())
    calibrator = Calibrator(source, num_threads=1, qsv_update_func=min_max_update)
    runs = range(0, len(pixels) - batch + 1, batch)
    data = ({"images": pixels[start : start + batch].astype("float32")} for start in runs)
    calibrator.calibrate({"serving_default": list(data)}, recipes)
    ranges = calibrator.get_model_qsvs()
    for name in _input_names(source):
        low, high = ranges[name]["min"], ranges[name]["max"]
        ranges[name] = {"min": low * 0, "max": high * 0 + 255}
    return ranges


def _input_names(source):
    from litert_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    graph = flatbuffer.read_model(memoryview(source)).subgraphs[0]
    return [flatbuffer.get_tensor_name(graph.tensors[index]) for index in graph.inputs]


def _outputs_of(source, kept, quantized):
    """Patterns of the outputs of the operations that compute in float: those that hold some kernels, whatever their
    layout, and those that only such ones read, if they hold none of the others."""
    import re

    from ai_edge_litert.interpreter import Interpreter

    if not kept:
        return []
    interpreter = Interpreter(model_content=source, experimental_op_resolver_type=_plain())
    interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()
    holds = {}  # place of an operation -> names of layers
    for kernels in (kept, quantized):
        wanted = {name: np.sort(kernel, axis=None) for name, kernel in kernels.items()}
        for place, operation in enumerate(operations):
            holds.setdefault(place, set()).update(_same(interpreter, details, operation, wanted))
    lost = set(kept) - set().union(*holds.values())
    if lost:
        raise LostKernels(sorted(lost))
    readers = collections.defaultdict(set)
    for place, operation in enumerate(operations):
        for index in operation["inputs"]:
            readers[index].add(place)
    in_float, patterns = set(), []
    for place in reversed(range(len(operations))):
        of = set().union(*(readers[index] for index in operations[place]["outputs"]))
        if holds[place] & set(kept) or (not holds[place] and of and of <= in_float):
            in_float.add(place)
            patterns.append(f"^{re.escape(details[operations[place]['outputs'][0]]['name'])};?$")
    return patterns


def _same(interpreter, details, operation, wanted):
    """Names of the kernels that are among the inputs of an operation."""
    for index in operation["inputs"]:
        if index < 0 or details[index]["dtype"] != np.float32 or len(details[index]["shape"]) < 2:
            continue
        same = [name for name, kernel in wanted.items() if kernel.size == np.prod(details[index]["shape"])]
        value = np.sort(interpreter.get_tensor(index), axis=None) if same else None
        yield from (name for name in same if np.allclose(value, wanted[name], rtol=1e-6, atol=0))


def _plain():
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _integers(content):
    """The integers of every kernel; those of 4 bits are read from the file, two a byte."""
    from litert_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model = flatbuffer.read_model(memoryview(content))
    found = []
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            buffer = model.buffers[tensor.buffer].data
            scale = None if tensor.quantization is None else tensor.quantization.scale
            if buffer is None or scale is None or len(tensor.shape) < 2:
                continue
            count, stored = int(np.prod(tensor.shape)), np.frombuffer(bytes(buffer), "int8")
            if len(stored) < count:
                low, high = (stored << 4).astype("int8") >> 4, stored >> 4
                stored = np.stack([low, high], axis=1).reshape(-1)[:count]
            found.append(np.sort(stored))
    return found
