"""In a process of its own: what other tools make of a float artefact, with their defaults."""


def answer(request):
    """Quantize with the tool `request["peer"]`, a name of `PEERS`; see there for what else it is asked."""
    PEERS[request["peer"]](request)
    return {}


def tensorflow(request):
    """TensorFlow's converter from a SavedModel that takes pixels as floats: integers throughout."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(request["saved_model"], signature_keys=["serving_default"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None].astype("float32")] for image in request["pixels"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    with open(request["path"], "wb") as file:
        file.write(converter.convert())


def litert_quantizer(request, recipe="static_wi8_ai8"):
    """litert-quantizer's recipe as it stands, from a float .tflite file."""
    from litert_quantizer import quantizer
    from litert_quantizer import recipe as recipes

    quantize = quantizer.Quantizer(request["tflite"], getattr(recipes, recipe)())
    ranges = {}
    if quantize.need_calibration:
        data = [{"images": image[None].astype("float32")} for image in request["pixels"]]
        ranges = quantize.calibrate({"serving_default": data}, num_threads=1)
    quantize.quantize(ranges).export_model(request["path"])


def litert_quantizer_int4(request):
    """Its int4 weights, activations quantized anew in every run."""
    litert_quantizer(request, "dynamic_wi4_afp32")


def onnxruntime(request, **options):
    """`quantize_static` from a float ONNX file: its defaults are one scale for all filters of a layer."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.images = iter(request["pixels"])

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"images": image[None]}

    quantize_static(request["onnx"], request["path"], Reader(), **options)


def onnxruntime_per_channel(request):
    """The same with a scale for each filter."""
    onnxruntime(request, per_channel=True)


def nncf(request):
    """`nncf.quantize` of a float representation of OpenVINO."""
    import sys

    sys.modules["openvino_telemetry"] = None
    import nncf
    import openvino

    network = openvino.Core().read_model(request["openvino"])
    data = nncf.Dataset([{"images": image[None]} for image in request["pixels"]])
    openvino.save_model(nncf.quantize(network, data), request["path"], compress_to_fp16=False)


def keras_export(request, format):
    """`model.export` of Keras, in float32: no tool of it makes integers of convolutions."""
    import keras

    keras.saving.load_model(request["keras"]).export(request["path"], format=format, verbose=False)


def keras_onnx(request):
    keras_export(request, "onnx")


def keras_litert(request):
    keras_export(request, "litert")


def keras_openvino(request):
    import sys

    sys.modules["openvino_telemetry"] = None
    keras_export(request, "openvino")


def kimm(request, dtype="float32", **options):
    """`export_tflite` of kimm, for one image at a time; its `export_onnx` needs torch and channels that come first."""
    try:
        from kimm.export import export_tflite
    except ImportError as error:
        raise ImportError(f"skipped, kimm is not installed (pip install kimm): {error}") from None
    import keras

    model = keras.saving.load_model(request["keras"])
    export_tflite(model, model.input_shape[1:], request["path"], dtype, **options)


def kimm_int8(request):
    """The same in integers throughout."""
    kimm(
        request, "int8", representative_dataset=lambda: ([image[None].astype("float32")] for image in request["pixels"])
    )


# Name -> (function, format, bits); 32 are floats.
PEERS_OF = {
    "Keras' own export, LiteRT": (keras_litert, "litert", 32),
    "kimm's own export": (kimm, "litert", 32),
    "Keras' own export, ONNX": (keras_onnx, "onnx", 32),
    "Keras' own export, OpenVINO": (keras_openvino, "openvino", 32),
    "kimm's own export, int8": (kimm_int8, "litert", 8),
    "TensorFlow's converter": (tensorflow, "litert", 8),
    "litert-quantizer": (litert_quantizer, "litert", 8),
    "quantize_static": (onnxruntime, "onnx", 8),
    "quantize_static, per channel": (onnxruntime_per_channel, "onnx", 8),
    "nncf.quantize": (nncf, "openvino", 8),
    "litert-quantizer, dynamic": (litert_quantizer_int4, "litert", 4),
}
PEERS = {name: function for name, (function, _, _) in PEERS_OF.items()}
