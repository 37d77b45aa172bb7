"""How an artefact is used, for its card: what it takes, and code that runs as it stands in the artefact's folder."""

import keyword
import pathlib

from dirac_keras.files.amounts import counted

IMAGES = "images"
# Names in the code.
_TAKEN = {
    "model",
    "session",
    "interpreter",
    "runner",
    "details",
    "scale",
    "zero_point",
    "options",
    "outputs",
    "np",
    "tf",
}
_TAKEN |= set(keyword.kwlist)


def use_text(report, data, file=None):
    """The section on use.

    Args:
        report: dict, `ExportReport.to_dict()`.
        data: dict `metadata["data"]`; empty if it is not known.
        file: the artefact's name, where `report` names a folder.
    """
    name = file or pathlib.PurePath(report.get("path") or "model").name
    code = f"```python\n{opening_code(report, name, data)}\n```"
    inputs, outputs = served_signature(report)
    fixed = _batch_of(inputs)
    batch = "" if fixed is None else f" It takes {counted(fixed, 'image')} at once, no other number."
    if not data:
        named = "; ".join(f"`{name}`: {kind}" for name, kind in inputs.items())
        return f"Inputs and outputs are the network's own{': ' + named if named else ''}.{batch}\n\n{code}"
    sides = ("batch" if fixed is None else fixed, *data["image_shape"])
    if report["format"] == "saved_model":
        takes = f"`images`: uint8 `({sides[0]}, height, width, {sides[-1]})`, values 0 to 255. The preprocessing is "
        takes += f"inside: images of any size are brought to {' x '.join(map(str, sides[1:3]))}, then "
    else:
        takes = f"`images`: uint8 `({', '.join(map(str, sides))})`, values 0 to 255. The preprocessing is inside: "
    takes += f"`(image - mean) / std` with mean {_numbers(data['mean'])} and deviation {_numbers(data['std'])}.{batch}"
    if data.get("resize") and report["format"] != "saved_model":
        takes += f" Larger images: scale the shorter side to {data['resize']} pixels, cut out the middle."
    integers = [name for name, kind in outputs.items() if kind.startswith("int8")]
    if integers:  # of LiteRT, unless the last layer is one that stays in float
        takes += (
            f" The {' and '.join(integers)} are integers: `(value - zero_point) * scale`, both in the details of the "
            "output (`quantization`); their order is that of the real numbers."
        )
    return f"{takes}\n\n{code}"


def _batch_of(inputs):
    """The batch that the artefact fixes, or None."""
    firsts = {kind.partition("(")[2].rstrip(")").split(",")[0].strip() for kind in inputs.values()}
    return int(firsts.pop()) if len(firsts) == 1 and all(first.isdecimal() for first in firsts) else None


def _numbers(values):
    return ", ".join(f"{value:.4g}" for value in values)


def served_signature(report):
    """`(inputs, outputs)`, dicts of name -> `"dtype (shape)"`, of what `opening_code` calls.

    Args:
        report: dict, `ExportReport.to_dict()`.
    """
    signatures = report.get("signatures") or {}
    names = ("serving_uint8", "serving_default", "serve") if report["format"] == "saved_model" else ("serve",)
    served = next((signatures[name] for name in names if name in signatures), {})
    return served.get("inputs", {}), served.get("outputs", {})


def opening_code(report, name, data=None):
    """Python that opens an artefact and runs it on what it takes.

    Args:
        report: dict, `ExportReport.to_dict()`.
        name: of the file or folder.
        data: dict `metadata["data"]`, or None.
    """
    inputs, outputs = served_signature(report)
    inputs = inputs or {IMAGES: "uint8"}
    opened, call = _OPENING[report["format"]](name, report.get("signatures") or {}, inputs)
    given = [f"{_variable(name, place)} = {_example(kind, data)}" for place, (name, kind) in enumerate(inputs.items())]
    said = f"  # {'; '.join(outputs)}" if outputs else ""
    imported, *steps = opened
    imports = sorted([imported, "import numpy as np"], key=lambda line: line.split()[1])
    return "\n".join([*imports, "", *steps, *given, f"outputs = {call}{said}", *_real_numbers(report, outputs)])


def _real_numbers(report, outputs):
    """Lines that make real numbers of LiteRT's integers."""
    integers = [name for name, kind in outputs.items() if kind.startswith("int8")]
    if report["format"] != "litert" or not integers:
        return
    yield "details = runner.get_output_details()"
    for place, name in enumerate(integers):
        yield f'scale, zero_point = details["{name}"]["quantization"]'
        yield f'{_variable(name, place)} = (outputs["{name}"].astype("float32") - zero_point) * scale'


def _saved_model(name, signatures, inputs):
    served = next(n for n in ("serving_uint8", "serving_default", "serve") if n in {**signatures, "serve": None})
    given = ", ".join(f"{_key(n)}: tf.constant({_variable(n, place)})" for place, n in enumerate(inputs))
    opened = ["import tensorflow as tf", f'model = tf.saved_model.load("{name}")']
    return opened, f'model.signatures["{served}"](**{{{given}}})'


def _onnx(name, signatures, inputs):
    opened = ["import onnxruntime", f'session = onnxruntime.InferenceSession("{name}")']
    return opened, f"session.run(None, {_by_name(inputs)})"


def _litert(name, signatures, inputs):
    opened = [
        "from ai_edge_litert.interpreter import Interpreter",
        f'interpreter = Interpreter("{name}")',
        "runner = interpreter.get_signature_runner()",
    ]
    return opened, f"runner(**{_by_name(inputs)})"


def _openvino(name, signatures, inputs):
    opened = [
        "import openvino",
        "# Without the hint it computes in bfloat16 on processors that have it: faster, and further from the Keras",
        "# model than measured below.",
        'options = {"INFERENCE_PRECISION_HINT": "f32"}',
        f'model = openvino.Core().compile_model("{name}", "CPU", options)',
    ]
    return opened, f"model({_by_name(inputs)})"


_OPENING = {"saved_model": _saved_model, "onnx": _onnx, "litert": _litert, "openvino": _openvino}


def _by_name(inputs):
    return "{" + ", ".join(f"{_key(name)}: {_variable(name, place)}" for place, name in enumerate(inputs)) + "}"


def _key(name):
    return f'"{name}"'


def _variable(name, place):
    return name if name.isidentifier() and name not in _TAKEN else f"input_{place}"


def _example(kind, data):
    """Zeros of a type and shape, written as in `"uint8 (None, 8, 8, 1)"`; one sample, where the batch is free."""
    dtype, _, shape = kind.partition(" ")
    own = [1, *(data or {}).get("image_shape", ())]
    sides = [side.strip() for side in shape.strip("()").split(",") if side.strip()]
    if len(sides) < len(own):
        sides = own
    sides = [int(side) if str(side).isdecimal() else [*own, *sides][place] for place, side in enumerate(sides)]
    sides = [1 if side == "None" else side for side in sides]
    text = ", ".join(map(str, sides)) + ("," if len(sides) == 1 else "")
    return f'np.zeros(({text}), "{"bytes" if dtype == "string" else dtype}")  # yours here'
