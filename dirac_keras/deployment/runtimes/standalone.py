"""An artefact of any format, opened and run by its own runtime.

This file imports nothing of the package and is also a script, so that an artefact can be proven in a process where the
package, and TensorFlow but for a SavedModel, cannot be imported: `python -I standalone.py FOLDER` (see `answer`).

| path | format | runtime |
|---|---|---|
| folder with `saved_model.pb` | `saved_model` | `tensorflow` |
| `.onnx` | `onnx` | `onnxruntime` |
| `.tflite` | `litert` | `ai_edge_litert` |
| `.xml`, with its `.bin`, or the folder of one | `openvino` | `openvino` |

A file of another name is told by its first bytes.
"""

import functools
import importlib
import json
import os
import pathlib
import pickle
import sys
import zipfile

import numpy as np

# Format -> module of its runtime.
RUNTIMES = {"saved_model": "tensorflow", "onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino"}
SUFFIXES = {".onnx": "onnx", ".tflite": "litert", ".xml": "openvino"}
LABELS_FILE, METADATA_FILE = "labels.txt", "dirac_keras.json"


class ArtefactError(ValueError):
    """A path that is no artefact, an artefact that its runtime refuses, or inputs that do not fit it."""


class RuntimeAbsent(ImportError):
    """The runtime of a format is not installed. `name` is its module."""


def find_format(path):
    """The format of an artefact, a key of `RUNTIMES`, told by its name and what it holds.

    Raises: ArtefactError: if there is none.
    """
    path = pathlib.Path(path)
    if not os.path.lexists(path):
        raise ArtefactError(f"{path} does not exist.")
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        if len(list(path.glob("*.xml"))) == 1:
            return "openvino"
        raise ArtefactError(f"{path} is a folder without saved_model.pb or one .xml file, so it is no artefact.")
    if path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    with open(path, "rb") as file:
        head = file.read(8)
    if head[4:] == b"TFL3":
        return "litert"
    if head.lstrip().startswith(b"<?xml"):
        return "openvino"
    if head.startswith(b"\x08"):  # the field `ir_version` of an ONNX model
        return "onnx"
    raise ArtefactError(f"{path} is no artefact, neither by its name ({', '.join(SUFFIXES)}) nor by what it holds.")


def open_artefact(path, threads=None, signature=None):
    """Open an artefact with its own runtime.

    Args:
        path: of the file, or the folder of a SavedModel.
        threads: int, threads of one run; None leaves it to the runtime. TensorFlow takes it once a process.
        signature: name, of a SavedModel alone; None: `serving_uint8` if there, else `serving_default`.

    Returns: `Runner`.
    Raises: ArtefactError: if it is no artefact or damaged. RuntimeAbsent: if its runtime is not installed.
    """
    format = find_format(path)
    try:
        importlib.import_module(RUNTIMES[format])
    except ImportError as error:
        absent = RuntimeAbsent(f"{path} needs {RUNTIMES[format]}, which cannot be imported: {error}")
        absent.name = RUNTIMES[format]
        raise absent from error
    try:
        return _OPENERS[format](pathlib.Path(path), threads, signature)
    except ArtefactError:
        raise
    except Exception as error:  # each runtime has errors of its own
        raise ArtefactError(f"{path} cannot be opened by {RUNTIMES[format]}: {_first_line(error)}") from error


class Runner:
    """An opened artefact.

    Attributes:
        format: key of `RUNTIMES`.
        inputs, outputs: dict, name -> `(dtype, shape)`; the dtype is NumPy's name as the file has it, sides that are
            open are None.
        batch: int, where the artefact fixes its batch, else None.
        metadata: dict of what the file says of itself: `labels`, `mean`, `std`, `resize`, `version`, ... as it has it.
        runtime: text, the runtime and its version.
    """

    def __init__(self, format, inputs, outputs, metadata, call):
        self.format, self.inputs, self.outputs, self.metadata, self._call = format, inputs, outputs, metadata, call
        firsts = {shape[0] for _, shape in inputs.values() if shape}
        self.batch = firsts.pop() if len(firsts) == 1 else None

    @property
    def runtime(self):
        module = sys.modules[RUNTIMES[self.format]]
        version = getattr(module, "__version__", "").partition("-")[0]  # OpenVINO's goes on with its commit and branch
        return f"{RUNTIMES[self.format]} {version}".strip()

    def run(self, inputs, raw=False):
        """Outputs by name.

        A batch that the artefact fixes is filled up with the last sample, and a larger one cut.

        Args:
            inputs: dict, name -> array. An artefact with one input takes the array alone. Arrays of another type than
                the file's are cast; real numbers for a quantized input are quantized as the file says.
            raw: whether quantized outputs stay integers, where else they come out as real numbers, float32.

        Returns: dict, name -> array.
        Raises: ArtefactError: if the names do not fit, or the runtime refuses the arrays.
        """
        if not isinstance(inputs, dict):
            inputs = {next(iter(self.inputs)): inputs} if len(self.inputs) == 1 else {"": inputs}
        if set(inputs) != set(self.inputs):
            raise ArtefactError(
                f"the artefact takes the inputs {', '.join(self.inputs)}. Received {', '.join(inputs)}."
            )
        inputs = {name: np.asarray(inputs[name]) for name in self.inputs}
        try:
            return self._in_batches(inputs, raw)
        except Exception as error:
            given = ", ".join(f"{name}: {value.dtype} {value.shape}" for name, value in inputs.items())
            raise ArtefactError(f"{RUNTIMES[self.format]} refuses {given}: {_first_line(error)}") from error

    def _in_batches(self, inputs, raw):
        counts = {len(value) for value in inputs.values() if value.ndim}
        if self.batch is None or counts == {self.batch}:
            return self._call(inputs, raw)
        (count,) = counts
        filled = {k: np.concatenate([v, np.repeat(v[-1:], -count % self.batch, axis=0)]) for k, v in inputs.items()}
        starts = range(0, len(next(iter(filled.values()))), self.batch)
        parts = [self._call({k: v[i : i + self.batch] for k, v in filled.items()}, raw) for i in starts]
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def _open_saved_model(path, threads, signature):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(path))
    names = list(loaded.signatures)
    if signature is None:
        signature = "serving_uint8" if "serving_uint8" in names else "serving_default"
    if signature not in names:
        raise ArtefactError(f"{path} has no signature {signature}; it has {', '.join(names)}.")
    function = loaded.signatures[signature]
    specs = {name: function.structured_input_signature[1][name] for name in function.structured_input_signature[1]}
    inputs = {name: (_tf_type(spec.dtype), _tf_shape(spec.shape)) for name, spec in specs.items()}
    outputs = {
        name: (_tf_type(spec.dtype), _tf_shape(spec.shape)) for name, spec in function.structured_outputs.items()
    }

    def call(arrays, raw):
        tensors = {
            name: tf.constant(value.tolist() if specs[name].dtype == tf.string else value, specs[name].dtype)
            for name, value in arrays.items()
        }
        return {name: value.numpy() for name, value in function(**tensors).items()}

    metadata = _read_json(path / METADATA_FILE)
    labels = path / "assets" / LABELS_FILE
    if labels.is_file():
        metadata["labels"] = labels.read_text(encoding="utf-8").splitlines()
    runner = Runner("saved_model", inputs, outputs, metadata, call)
    runner._loaded = loaded  # its variables live as long as it does
    return runner


def _tf_type(dtype):
    return dtype.name


def _tf_shape(shape):
    return None if shape.rank is None else tuple(shape.as_list())


_ONNX_TYPES = {"float": "float32", "double": "float64"}


def _open_onnx(path, threads, signature):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def describe(tensors):
        return {tensor.name: (_onnx_type(tensor.type), _open_sides(tensor.shape)) for tensor in tensors}

    inputs, outputs = describe(session.get_inputs()), describe(session.get_outputs())

    def call(arrays, raw):
        arrays = {name: value.astype(inputs[name][0], copy=False) for name, value in arrays.items()}
        return dict(zip(outputs, session.run(list(outputs), arrays), strict=True))

    return Runner("onnx", inputs, outputs, _decoded(session.get_modelmeta().custom_metadata_map), call)


def _onnx_type(text):
    name = text.removeprefix("tensor(").removesuffix(")")
    return _ONNX_TYPES.get(name, name)


def _open_sides(shape):
    return tuple(int(side) if isinstance(side, (int, np.integer)) and side > 0 else None for side in shape)


def _open_litert(path, threads, signature):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    taken = {_litert_name(interpreter, "inputs", d): d for d in taken}
    given = {_litert_name(interpreter, "outputs", d): d for d in given}
    shapes = {}

    def call(arrays, raw):
        for name, value in arrays.items():
            if shapes.setdefault(name, tuple(taken[name]["shape"])) != value.shape:
                interpreter.resize_tensor_input(taken[name]["index"], value.shape, strict=False)
                shapes[name] = value.shape
                interpreter.allocate_tensors()
        for name, value in arrays.items():
            interpreter.set_tensor(taken[name]["index"], _quantized(value, taken[name]))
        interpreter.invoke()
        found = {name: interpreter.get_tensor(detail["index"]) for name, detail in given.items()}
        return found if raw else {name: _dequantized(value, given[name]) for name, value in found.items()}

    def describe(details):
        return {name: (np.dtype(d["dtype"]).name, _open_sides(d["shape_signature"])) for name, d in details.items()}

    return Runner("litert", describe(taken), describe(given), _litert_metadata(path), call)


def _litert_name(interpreter, side, detail):
    """The name that the one signature gives a tensor, else the tensor's own."""
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        named = runner.get_input_details() if side == "inputs" else runner.get_output_details()
        for name, other in named.items():
            if other["index"] == detail["index"]:
                return name
    return detail["name"]


def _quantized(value, detail):
    wanted, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if value.dtype == wanted or not scale or wanted.kind == "f":
        return value.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    return np.clip(np.rint(value.astype("float64") / scale) + zero, limits.min, limits.max).astype(wanted)


def _dequantized(value, detail):
    scale, zero = detail["quantization"]
    if value.dtype.kind not in "iu" or not scale:
        return value
    return ((value.astype("float32") - zero) * np.float32(scale)).astype("float32")


def _litert_metadata(path):
    """What the files associated with a `.tflite`, a zip at its end, say."""
    if not zipfile.is_zipfile(path):
        return {}
    metadata = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            text = archive.read(name)
            if name == METADATA_FILE:
                metadata |= json.loads(text)
            elif name.endswith(".txt"):
                metadata["labels"] = text.decode("utf-8").splitlines()
    return metadata


def _open_openvino(path, threads, signature):
    if path.is_dir():
        (path,) = path.glob("*.xml")
    core = _core()
    # What the file says, and no precision below: the plugin may take bfloat16 where the processor has it.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    network = core.read_model(str(path))
    request = core.compile_model(network, "CPU", options).create_infer_request()

    def describe(ports):
        return {_port_name(port): (_ov_type(port), _ov_shape(port)) for port in ports}

    inputs, outputs = describe(network.inputs), describe(network.outputs)

    def call(arrays, raw):
        arrays = {name: value.astype(inputs[name][0], copy=False) for name, value in arrays.items()}
        request.infer({index: value for index, value in enumerate(arrays.values())})
        return {name: np.array(request.get_output_tensor(index).data) for index, name in enumerate(outputs)}

    return Runner("openvino", inputs, outputs, _read_json(path.with_suffix(".json")), call)


@functools.cache
def _core():
    """OpenVINO's, one for the process.

    Each one gives the thread a stack for signals (OpenVINO 2026.4). Of two that go in the order in which they came, the
    first takes away the stack that the second puts back, and the next signal, such as Ctrl-C, ends the process.
    """
    import openvino

    return openvino.Core()


def _port_name(port):
    return sorted(port.names)[0] if port.names else port.node.friendly_name


def _ov_type(port):
    return np.dtype(port.element_type.to_dtype()).name


def _ov_shape(port):
    return tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)


_OPENERS = {
    "saved_model": _open_saved_model,
    "onnx": _open_onnx,
    "litert": _open_litert,
    "openvino": _open_openvino,
}


def _read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _decoded(properties):
    """Texts of a map as what they hold: JSON where they are JSON; of `labels` lines otherwise."""
    found = {}
    for name, text in properties.items():
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text.splitlines() if name == "labels" else text
    return found


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class _Refuse:
    """An importer that refuses packages, wherever they may be installed."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            raise ImportError(f"the artefact needs {name}")


def answer(folder):
    """Answer the request in a folder: `request.pickle`, to which `answer.pickle` is written.

    The request is a dict: `path`; `threads`; `blocked`, packages that must not be imported; `search_path`, for
    `sys.path`; `cases`, a list of dicts `inputs`, `signature`, `raw`, `fresh` (opens the artefact anew, for one that
    keeps a state), the last three optional. The answer: `outputs`, a list of dicts; `inputs`, `described` (outputs),
    `metadata` and `runtime`, as the first case's `Runner` has them; `modules`, packages that were imported.
    """
    folder = pathlib.Path(folder)
    with open(folder / "request.pickle", "rb") as file:
        request = pickle.load(file)
    sys.path[:] = request.get("search_path", sys.path)
    sys.meta_path.insert(0, _Refuse(request["blocked"]))
    runners, outputs = {}, []
    for case in request["cases"]:
        signature = case.get("signature")
        if signature not in runners or case.get("fresh"):
            is_first = not runners  # threads are TensorFlow's once a process
            runners[signature] = open_artefact(request["path"], request.get("threads") if is_first else None, signature)
        outputs.append(runners[signature].run(case["inputs"], case.get("raw", False)))
    first = next(iter(runners.values()))
    modules = sorted({name.split(".")[0] for name in sys.modules})
    refused = sorted(set(modules) & set(request["blocked"]))
    if refused:
        raise ArtefactError(f"the artefact imported {', '.join(refused)}")
    told = {"inputs": first.inputs, "described": first.outputs, "metadata": first.metadata, "runtime": first.runtime}
    with open(folder / "answer.pickle", "wb") as file:
        pickle.dump({"outputs": outputs, "modules": modules, **told}, file)


if __name__ == "__main__":
    try:
        answer(sys.argv[1])
    except (ArtefactError, ImportError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
