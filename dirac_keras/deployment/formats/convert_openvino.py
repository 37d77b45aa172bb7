"""In a process of its own: OpenVINO's converter from a SavedModel to an intermediate representation."""

import re


class UnknownOperation(Exception):
    """Operations that the converter does not know: their types."""


def answer(request):
    """`source`: of the SavedModel, or of an .xml file; `path`: of the .xml file; `precision`: float32, float16; `info`:
    dict, texts for the runtime information by their path in it.
    """
    import sys

    sys.modules["openvino_telemetry"] = None  # which reports each conversion to its makers
    import openvino

    source = request["source"]
    if source.endswith(".xml"):
        network = openvino.Core().read_model(source)
    else:
        try:
            network = openvino.convert_model(source)
        except Exception as error:
            listed = re.findall(r"No conversion rule found for operations: (.+)", str(error))
            operations = sorted({name.strip() for line in listed for name in line.split(",")})
            if not operations:
                raise
            raise UnknownOperation(operations) from error
    for name, text in request.get("info", {}).items():
        network.set_rt_info(text, name.split("/"))
    openvino.save_model(network, request["path"], compress_to_fp16=request["precision"] == "float16")
    return {}
