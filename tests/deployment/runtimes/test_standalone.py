"""An artefact of each format, opened by its own runtime, here and where this package cannot be imported."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from dirac_keras.deployment.runtimes import open_artefact, run_in_clean_process, standalone
from dirac_keras.errors import MissingExtra, RunError, UserError
from tests.deployment.runtimes import tiny

FORMATS = ("onnx", "openvino", "saved_model")


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Format -> path, of the formats whose runtime is there."""
    folder = tmp_path_factory.mktemp("artefacts")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    return {
        "onnx": tiny.write_onnx(folder / "net.onnx", metadata={"labels": ["a", "b", "c"], "name": "plain text"}),
        "openvino": tiny.write_openvino(folder / "net.xml"),
        "saved_model": tiny.write_saved_model(folder / "saved_model"),
    }


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_numbers(format, artefacts):
    runner = open_artefact(artefacts[format], threads=None if format == "saved_model" else 1)
    assert runner.format == format and runner.batch is None
    assert runner.inputs == {"images": ("uint8", (None, *tiny.SHAPE))}
    pictures = tiny.images()
    # Sums of whole numbers below 2^24 are exact in float32.
    np.testing.assert_array_equal(runner.run({"images": pictures})["logits"], tiny.sums(pictures))
    np.testing.assert_array_equal(runner.run(pictures[:1])["logits"], tiny.sums(pictures[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_clean_process_gives_the_same_without_this_package(format, artefacts):
    pictures = tiny.images()
    answer = run_in_clean_process(artefacts[format], [{"inputs": {"images": pictures}}], threads=1)
    np.testing.assert_array_equal(answer["outputs"][0]["logits"], tiny.sums(pictures))
    assert "dirac_keras" not in answer["modules"]
    assert ("tensorflow" in answer["modules"]) == (format == "saved_model")
    assert standalone.RUNTIMES[format] in answer["runtime"]


def test_signature_of_a_saved_model_is_chosen_by_name(artefacts):
    pictures = tiny.images()
    twice = open_artefact(artefacts["saved_model"], signature="twice").run(pictures)["logits"]
    np.testing.assert_array_equal(twice, 2 * tiny.sums(pictures))
    with pytest.raises(UserError, match="no signature thrice; it has serving_default, twice"):
        open_artefact(artefacts["saved_model"], signature="thrice")


def test_metadata_is_read_as_the_file_carries_it(artefacts):
    assert open_artefact(artefacts["onnx"]).metadata == {"labels": ["a", "b", "c"], "name": "plain text"}
    assert open_artefact(artefacts["openvino"]).metadata == {"labels": ["a", "b", "c"]}


def test_fixed_batch_is_filled_up_and_cut(tmp_path):
    pytest.importorskip("onnxruntime")
    runner = open_artefact(tiny.write_onnx(tmp_path / "two.onnx", batch=2))
    pictures = tiny.images(5)
    assert runner.batch == 2
    for count in (1, 2, 5):
        np.testing.assert_array_equal(runner.run(pictures[:count])["logits"], tiny.sums(pictures[:count]))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """An int8 `.tflite` with uint8 images in and int8 logits out, labels in the zip at its end."""
    pytest.importorskip("ai_edge_litert")
    import zipfile

    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, *tiny.SHAPE), tf.float32, "images")])
    def means(images):
        return {"logits": tf.reduce_mean(images, (1, 2))}

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([means.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.concatenate([tiny.images(20), np.zeros((1, *tiny.SHAPE)), np.full((1, *tiny.SHAPE), 255)])
    converter.representative_dataset = lambda: ([sample[None].astype("float32")] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    path = tmp_path_factory.mktemp("litert") / "net.tflite"
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "a\nb\nc\n")
    return path


def test_quantized_outputs_come_out_as_real_numbers(quantized):
    runner = open_artefact(quantized, threads=1)
    pictures = tiny.images(4, seed=1)
    (name,) = runner.outputs
    assert runner.batch == 1 and runner.metadata == {"labels": ["a", "b", "c"]}
    real, raw = runner.run(pictures)[name], runner.run(pictures, raw=True)[name]
    assert real.dtype == np.float32 and raw.dtype == np.int8
    # One step of the output is 255 / 255; the mean of the inputs adds up without a rounding of its own.
    np.testing.assert_allclose(real, pictures.astype("float32").mean((1, 2)), atol=1.0)
    steps = np.diff(np.unique(real)) / np.diff(np.unique(raw).astype("float32"))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)  # one scale


def test_integer_artefact_runs_where_tensorflow_cannot_be_imported(quantized):
    pictures = tiny.images(3)
    answer = run_in_clean_process(quantized, [{"inputs": pictures}, {"inputs": pictures, "raw": True}])
    real, raw = (next(iter(outputs.values())) for outputs in answer["outputs"])
    assert real.dtype == np.float32 and raw.dtype == np.int8 and "tensorflow" not in answer["modules"]


@pytest.mark.parametrize("name", ["net", "net.bin", "model.bytes"])
def test_format_is_told_by_content_where_the_name_does_not(name, artefacts, quantized, tmp_path):
    for format, path in (("onnx", artefacts["onnx"]), ("openvino", artefacts["openvino"]), ("litert", quantized)):
        copy = tmp_path / f"{format}-{name}"
        copy.write_bytes(path.read_bytes())
        assert standalone.find_format(copy) == format


def test_folder_of_an_openvino_model_is_one(tmp_path):
    pytest.importorskip("openvino")
    tiny.write_openvino(tmp_path / "model.xml")
    pictures = tiny.images()
    np.testing.assert_array_equal(open_artefact(tmp_path).run(pictures)["logits"], tiny.sums(pictures))
    assert open_artefact(tmp_path).metadata == {"labels": ["a", "b", "c"]}


def test_what_is_no_artefact_gets_one_line(tmp_path, artefacts):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "bad.onnx").write_text("hello")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(artefacts["onnx"].read_bytes()[:100])
    for path, said in (
        (tmp_path / "absent.onnx", "does not exist"),
        (tmp_path / "notes.txt", "is no artefact"),
        (tmp_path / "bad.onnx", "cannot be opened by onnxruntime"),
        (cut, "cannot be opened by onnxruntime"),
        (tmp_path, "is a folder without saved_model.pb"),
    ):
        with pytest.raises(UserError, match=said) as error:
            open_artefact(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_inputs_that_do_not_fit_are_named(artefacts):
    runner = open_artefact(artefacts["onnx"])
    with pytest.raises(standalone.ArtefactError, match=r"takes the inputs images\. Received pictures"):
        runner.run({"pictures": tiny.images()})
    with pytest.raises(standalone.ArtefactError, match=r"onnxruntime refuses images: uint8 \(5, 4, 2\)"):
        runner.run(tiny.images()[..., 0])


def test_absent_runtime_names_the_extra(artefacts, monkeypatch):
    monkeypatch.setitem(standalone.RUNTIMES, "onnx", "no_such_runtime")
    with pytest.raises(MissingExtra, match=r"onnxruntime, which is not installed: pip install 'dirac_keras\[onnx\]'"):
        open_artefact(artefacts["onnx"])


def test_clean_process_refuses_what_it_must_not_import(artefacts):
    with pytest.raises(RunError, match="onnxruntime, which cannot be imported: the artefact needs onnxruntime"):
        run_in_clean_process(artefacts["onnx"], [{"inputs": tiny.images()}], blocked=("onnxruntime",))


def test_signal_arrives_after_two_artefacts_of_openvino_have_gone(tmp_path):
    """OpenVINO 2026.4 leaves a stack for signals that is no more where two of its cores go in the order they came."""
    pytest.importorskip("openvino")
    path = tiny.write_openvino(tmp_path / "net.xml")
    script = f"""
import gc, pathlib, signal, sys
sys.path.insert(0, {str(pathlib.Path(standalone.__file__).parent)!r})
import standalone
first, second = (standalone.open_artefact(pathlib.Path({str(path)!r})) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("received"))
signal.raise_signal(signal.SIGTERM)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "received\n"), ended.stderr
