"""Integer artefacts: the integers of the grid, pixels in, and layers that stay in float."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.deployment import export
from dirac_keras.deployment.formats import litert_int8, onnx_int8, openvino_int8
from dirac_keras.deployment.formats.child import run_child
from dirac_keras.deployment.formats.integers import differing, quantize_in_child, request_of
from dirac_keras.deployment.formats.job import Job
from dirac_keras.deployment.formats.litert import SCRIPT as CONVERT_LITERT
from dirac_keras.deployment.formats.litert import run_converter
from dirac_keras.deployment.formats.onnx import convert as convert_onnx
from dirac_keras.deployment.formats.openvino import write as convert_openvino
from dirac_keras.deployment.formats.to_saved_model import write_saved_model
from dirac_keras.deployment.heads import Head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.quantization import round_weights, signal_to_noise_db
from dirac_keras.deployment.quantization.identity_apart import identity_masks
from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.rounding import round_network
from dirac_keras.deployment.runtimes import open_artefact
from dirac_keras.errors import RunError
from tests.deployment.formats.networks import METADATA, SHAPE, classifier, fed, pixels, randomize

for package in ("onnxruntime", "tf2onnx", "ai_edge_litert", "litert_quantizer", "openvino", "nncf"):
    pytest.importorskip(package)

FORMATS = ("onnx", "litert", "openvino")
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}
WRITERS = {"onnx": onnx_int8, "litert": litert_int8, "openvino": openvino_int8}
KERNELS = ("first", "second", "strided", "depthwise", "logits")


def _network():
    """As folding leaves a Dirac network, with what else has a kernel."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Conv2D(8, 3, padding="same", strides=2, activation="relu", name="strided")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    return randomize(keras.Model(inputs, x, name="small"))


@pytest.fixture(scope="module")
def job():
    """Kernels on the grid of 4 bits."""
    images = pixels(40)
    model, _ = round_weights(_network(), fed(images), bits=4, method="nearest")
    spec = ImageSpec.from_metadata(METADATA, model)
    return Job(model, model, "onnx", "int4", spec, Head("logits", 3), METADATA, pixels=images)


@pytest.fixture(scope="module")
def sources(job, tmp_path_factory):
    """dict, format -> float artefact: converted once, quantized often."""
    folder = tmp_path_factory.mktemp("float")
    paths = {format: folder / f"float{suffix}" for format, suffix in SUFFIXES.items()}
    as_float = dataclasses.replace(job, precision="float32")
    convert_onnx(as_float, paths["onnx"])
    convert_openvino(as_float, paths["openvino"])
    write_saved_model(litert_int8._served(job), folder / "saved", format="litert")
    request = {"folder": str(folder / "saved"), "path": str(paths["litert"]), "precision": "float32"}
    run_converter(job, CONVERT_LITERT, request)
    return paths


@dataclasses.dataclass
class Kept:
    """Of a `QuantizationReport`, what the writers read."""

    kept: tuple
    identity_in_float: tuple = ()


def _quantize(job, sources, folder, format, precision, kept=()):
    path = folder / f"integers{SUFFIXES[format]}"
    job = dataclasses.replace(job, format=format, precision=precision, quantization=Kept(kept))
    notes = quantize_in_child(job, WRITERS[format].SCRIPT, request_of(job, sources[format], path), format)
    return path, notes


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_int8_holds_the_integers_and_takes_pixels(job, sources, tmp_path, format):
    path, notes = _quantize(job, sources, tmp_path, format, "int8")
    assert notes == []  # each kernel read back from the file
    runner = open_artefact(path)
    assert runner.inputs["images"] == ("uint8", (None, *SHAPE))
    images = pixels(64)
    reference = job.model.predict(fed(images), verbose=0)
    # Kernels are exact, activations lose half a step of 256 at most: 4 roundings, each some 45 dB below the signal.
    assert signal_to_noise_db(reference, runner.run(images)["logits"]) > 30


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_onnx_holds_no_constant_that_nothing_reads(job, sources, tmp_path, precision):
    """onnxruntime warns of each as it loads the file."""
    import onnx

    graph = onnx.load(_quantize(job, sources, tmp_path, "onnx", precision)[0]).graph
    assert {tensor.name for tensor in graph.initializer} <= {name for node in graph.node for name in node.input}


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int4_weights_beside_float_activations_are_exact(job, sources, tmp_path, format):
    path, notes = _quantize(job, sources, tmp_path, format, "int4")
    assert notes == []
    outputs = open_artefact(path).run(pixels())["logits"]
    np.testing.assert_allclose(outputs, job.model.predict(fed(pixels()), verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int4_weights_with_their_identity_in_float_are_exact(tmp_path, format):
    """Kernels whose other taps lie on the grid come back whole, the identity taps in their places."""
    network = _network()
    kernel = keras.ops.convert_to_numpy(network.get_layer("second").kernel).copy()
    kernel[1, 1] += 5 * np.eye(8)
    network.get_layer("second").kernel.assign(kernel)
    images = pixels(40)
    mask = identity_masks(Network(network, SHAPE))
    assert list(mask) == ["second"]
    model = copy_of(network)
    round_network(Network(network, SHAPE), Network(model, SHAPE), fed(images), 4, "nearest", free=mask)
    spec = ImageSpec.from_metadata(METADATA, model)
    report = Kept((), ("second",))
    job = Job(model, model, format, "int4", spec, Head("logits", 3), METADATA, pixels=images, quantization=report)
    path = tmp_path / f"apart{SUFFIXES[format]}"
    assert WRITERS[format].write_int8(job, path) == []
    outputs = open_artefact(path).run(pixels())["logits"]
    np.testing.assert_allclose(outputs, model.predict(fed(pixels()), verbose=0), rtol=1e-4, atol=1e-5)


def test_litert_has_int4_weights_where_it_has_a_kernel_for_them(job, sources, tmp_path):
    path, notes = _quantize(job, sources, tmp_path, "litert", "int4")
    # A depthwise convolution has none: its weights are of 8 bits, which the grid of 4 bits does not divide.
    assert notes == ["litert stores other integers than the kernels were rounded to, in depthwise"]
    runner, images = open_artefact(path), pixels(64)
    assert runner.run(images, raw=True)["logits"].dtype == np.int8
    reference = job.model.predict(fed(images), verbose=0)
    assert signal_to_noise_db(reference, runner.run(images)["logits"]) > 30


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_layer_that_is_kept_is_not_among_the_integers(job, sources, tmp_path, format):
    path = tmp_path / f"mixed{SUFFIXES[format]}"
    mixed = dataclasses.replace(job, format=format, precision="int8", quantization=Kept(("strided",)))
    request = request_of(mixed, sources[format], path)
    integers = run_child(WRITERS[format].SCRIPT, request)["integers"]
    assert differing(job.model, request["quantized"] | request["kept"], 8, integers) == ["strided"]
    images = pixels(64)
    reference = job.model.predict(fed(images), verbose=0)
    assert signal_to_noise_db(reference, open_artefact(path).run(images)["logits"]) > 30


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_between_layers_in_float_nothing_is_rounded(job, sources, tmp_path, format):
    """With all of them in float the numbers are the model's own: image, tensors, pooling and logits."""
    path, notes = _quantize(job, sources, tmp_path, format, "int8", KERNELS)
    assert notes == []
    outputs = open_artefact(path).run(pixels())["logits"]
    np.testing.assert_allclose(outputs, job.model.predict(fed(pixels()), verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_kept_layer_whose_kernel_is_not_in_the_graph_is_named(job, sources, tmp_path):
    request = request_of(job, sources["openvino"], tmp_path / "x.xml")
    request["weight_bits"], request["kept"] = 8, {"lost": np.full((3, 3), 0.123, "float32")}
    with pytest.raises(RunError, match=r"NNCF cannot find the kernels of lost in the converted graph"):
        quantize_in_child(job, openvino_int8.SCRIPT, request, "NNCF")
    assert not (tmp_path / "x.xml").exists()


def test_calibration_images_fill_whole_batches(job):
    fixed = dataclasses.replace(job, batch=16)
    request = request_of(fixed, "a", "b")
    assert request["batch"] == 16 and len(request["pixels"]) == 48  # of 40
    np.testing.assert_array_equal(request["pixels"][40:], job.pixels[:8])
    assert set(request["quantized"]) == set(KERNELS) and request["kept"] == {}


def test_a_layer_whose_integers_are_others_is_named():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="dense")])
    kernel = np.array([[1.27, 0.3], [0.5, -0.6]], "float32")  # filters (1.27, 0.5), (0.3, -0.6): 127 50, 64 -127
    right = np.array([-127, 50, 64, 127], "int8")
    assert differing(model, {"dense": kernel}, 8, [np.zeros(4, "int8"), right]) == []
    assert differing(model, {"dense": kernel}, 8, [right + np.array([0, 1, 0, 0], "int8")]) == ["dense"]


def test_a_filter_of_one_weight_is_right_on_any_grid():
    """It is the largest integer, 7 or 127: the identity of a depthwise branch, which LiteRT keeps in 8 bits."""
    model = keras.Sequential([keras.Input((4, 4, 2)), layers.DepthwiseConv2D(1, name="branch")])
    kernel = np.array([0.3, -2.0], "float32").reshape(1, 1, 2, 1)
    assert differing(model, {"branch": kernel}, 4, [np.array([-127, 127], "int8")]) == []


def test_kernels_behind_the_flatbuffer_are_taken_inside(sources):
    from litert_quantizer.model_modifier import ModelModifier, _PackedBufferData
    from litert_quantizer.utils.tfl_flatbuffer_utils import read_model

    from dirac_keras.deployment.formats.quantize_litert import _with_data_inside

    def kernels(content):
        return [bytes(buffer.data) for buffer in read_model(memoryview(content)).buffers if buffer.data is not None]

    source = sources["litert"].read_bytes()
    model = read_model(memoryview(source))
    outside = bytes(ModelModifier(model)._serialize_model(model, _PackedBufferData(model, min_size_bytes=64)))
    inside = _with_data_inside(outside)
    assert kernels(inside) == kernels(source)
    assert all(not buffer.offset for buffer in read_model(memoryview(inside)).buffers)
    assert any(len(kernel) > 64 for kernel in kernels(inside))


def test_one_probability_becomes_those_of_two_classes_in_litert(job):
    """What an artefact in float gives, an integer one gives too; one logit stays one number."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    model = randomize(keras.Model(inputs, x))
    given = model.predict(fed(pixels()), verbose=0)
    for gives, wanted in (("probabilities", np.concatenate([1 - given, given], axis=-1)), ("logits", given)):
        served = litert_int8._served(dataclasses.replace(job, model=model, head=Head(gives, 1)))
        outputs = served.predict(pixels().astype("float32"), verbose=0)
        assert set(outputs) == {gives}
        np.testing.assert_allclose(outputs[gives], wanted, rtol=1e-5)


def test_a_batch_that_is_asked_is_the_litert_graphs(job, tmp_path, monkeypatch):
    asked = []

    def stop(served, folder, batch, format):
        asked.append((served.input_shape, batch))
        raise RunError("enough seen")

    monkeypatch.setattr(litert_int8, "write_saved_model", stop)
    for batch in (None, 4):
        with pytest.raises(RunError, match="enough seen"):
            litert_int8.write_int8(dataclasses.replace(job, batch=batch), tmp_path / "net.tflite")
    assert asked == [((None, *SHAPE), None), ((4, *SHAPE), 4)]


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_int4_of_one_probability_gives_those_of_two_classes(format, tmp_path):
    """A closing sigmoid is no part of what is rounded, and its class is told at one half."""
    data = METADATA["data"] | {"num_classes": 2, "class_names": ["low", "high"]}
    model, images = classifier(units=1, end="sigmoid"), pixels(200)
    options = {"precision": "int4", "calibration": images[:100], "quantization": {"cures": ("follow",)}}
    report = export(model, tmp_path / f"net{SUFFIXES[format]}", format, {"data": data}, **options)
    outputs = open_artefact(report.path).run(images[100:])
    second = model.predict(fed(images[100:]), verbose=0)[:, 0].astype("float64")
    assert list(outputs) == ["probabilities"] and outputs["probabilities"].shape == (100, 2)
    # Of 4 bits: on images that nothing was fitted to, the noise is a tenth of the probabilities' power at most.
    assert signal_to_noise_db(np.stack([1 - second, second], axis=-1), outputs["probabilities"]) > 10
    assert report.compared["sqnr_db"] > 10
