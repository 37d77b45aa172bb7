"""ONNX, LiteRT and OpenVINO files: pixels in, the model's outputs out, and all that is known of it inside."""

import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from scipy.special import softmax

from dirac_keras.deployment import export
from dirac_keras.deployment.card.use import opening_code
from dirac_keras.deployment.runtimes import open_artefact
from tests.deployment.formats.networks import DATA, METADATA, SHAPE, classifier, fed, pixels, several

pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
pytest.importorskip("ai_edge_litert")
openvino = pytest.importorskip("openvino")

LINES = ["cat", "dog", "één hond"]
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}
# The same float32 operations in another order: some 1e-6 of outputs of order 1.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Report of each format, float32."""
    folder = tmp_path_factory.mktemp("formats")
    return {
        format: export(model, folder / f"net{suffix}", format, METADATA, calibration=pixels(40))
        for format, suffix in SUFFIXES.items()
    }


@pytest.mark.parametrize("format", SUFFIXES)
def test_pixels_in_logits_and_probabilities_out(format, exported, model):
    runner = open_artefact(exported[format].path)
    assert runner.inputs == {"images": ("uint8", (None, *SHAPE))}
    for count in (1, 5):
        outputs = runner.run({"images": pixels(count)})
        logits = np.asarray(model(fed(pixels(count))))
        np.testing.assert_allclose(outputs["logits"], logits, **TOLERANCE)
        np.testing.assert_allclose(outputs["probabilities"], softmax(logits, -1), **TOLERANCE)


@pytest.mark.parametrize("format", SUFFIXES)
def test_report_tells_on_what_it_was_compared_and_by_which_runtime(format, exported):
    report = exported[format]
    assert report.compared["images"] == 40 and report.compared["real"] and report.compared["agreement"] == 1.0
    assert report.compared["sqnr_db"] > 80  # float32 has 24 bits: rounding alone is 140 dB
    assert report.max_abs_difference < 1e-4
    assert report.signatures["serve"]["outputs"]["logits"] == "float32 (None, 3)"
    assert "same class for 100.0% of 40 of the given images" in str(report)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


@pytest.mark.parametrize("format", SUFFIXES)
def test_metadata_are_read_back_as_they_were(format, exported):
    found = open_artefact(exported[format].path).metadata
    assert found["labels"] == LINES
    assert (found["mean"], found["std"], found["resize"]) == (DATA["mean"], DATA["std"], 12)
    assert (found["producer"], found["format"], found["precision"]) == ("dirac_keras", format, "float32")
    assert found["version"] and found["image_shape"] == list(SHAPE) and "centre crop" in found["resize_rule"]


def test_onnx_has_its_metadata_in_metadata_props(exported):
    import onnx

    model = onnx.load(exported["onnx"].path)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(found["labels"]) == LINES and json.loads(found["mean"]) == DATA["mean"]
    assert model.producer_name == "dirac_keras" and model.opset_import[0].version == 18


def test_onnx_has_a_model_version_and_no_fact_that_is_none(exported):
    import onnx

    model = onnx.load(exported["onnx"].path)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert model.model_version == 1 and model.domain == "dirac_keras" and model.doc_string == "small, float32"
    assert "max_pixels" not in found and "null" not in found.values()


SAVES = """
import numpy
found = zip(names, outputs) if names else ((name, outputs[name]) for name in ("logits", "probabilities"))
numpy.savez("found.npz", images=images, **dict(found))
"""


@pytest.mark.parametrize("format", SUFFIXES)
def test_code_of_the_card_runs_as_it_stands_and_gives_what_was_measured(format, exported):
    """In the artefact's folder, on the zeros that it makes, with the precision that the comparison had."""
    path = pathlib.Path(exported[format].path)
    code = opening_code(exported[format].to_dict(), path.name, DATA)
    assert ("INFERENCE_PRECISION_HINT" in code) == (format == "openvino")
    names = "[output.name for output in session.get_outputs()]" if format == "onnx" else "None"
    script = f"{code}\nnames = {names}\n{SAVES}"
    subprocess.run([sys.executable, "-c", script], cwd=path.parent, check=True, capture_output=True)
    found = np.load(path.with_name("found.npz"))
    assert found["images"].shape == (1, *SHAPE) and found["images"].dtype == np.uint8
    for name, expected in open_artefact(path).run(found["images"]).items():
        np.testing.assert_array_equal(found[name], expected)


def test_openvino_has_its_labels_in_the_runtime_information(exported):
    model = openvino.Core().read_model(exported["openvino"].path)
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "cat dog één_hond"
    assert json.loads(model.get_rt_info(["dirac_keras", "std"]).astype(str)) == DATA["std"]
    beside = json.loads(pathlib.Path(exported["openvino"].path).with_suffix(".json").read_text(encoding="utf-8"))
    assert beside["labels"] == LINES


class Table:
    """A table of a flatbuffer by the numbers of its fields, read without the code that wrote it."""

    def __init__(self, content, position):
        from flatbuffers.table import Table

        self.table = Table(bytearray(content), position)

    def _at(self, field):
        return self.table.Offset(4 + 2 * field)

    def text(self, field):
        return self.table.String(self._at(field) + self.table.Pos).decode()

    def number(self, field, kind="Int8"):
        from flatbuffers import number_types

        return self.table.Get(getattr(number_types, f"{kind}Flags"), self._at(field) + self.table.Pos)

    def child(self, field):
        return Table(self.table.Bytes, self.table.Indirect(self._at(field) + self.table.Pos))

    def children(self, field):
        start, count = self.table.Vector(self._at(field)), self.table.VectorLen(self._at(field))
        return [Table(self.table.Bytes, self.table.Indirect(start + 4 * index)) for index in range(count)]


def test_litert_has_a_metadata_table_and_a_labels_file_associated_with_its_outputs(exported):
    from ai_edge_litert import schema_py_generated as schema

    content = pathlib.Path(exported["litert"].path).read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    entry = next(one for one in map(model.Metadata, range(model.MetadataLength())) if one.Name() == b"TFLITE_METADATA")
    data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    assert data[4:8] == b"M001"
    root = Table(data, int.from_bytes(data[:4], "little"))
    assert root.text(0) == "small" and root.text(7) == "1.0.0"
    (subgraph,) = root.children(3)
    (image,) = subgraph.children(2)
    assert image.text(0) == "images" and "Pixels, 0 to 255, RGB, 8x8" in image.text(1)
    assert image.child(3).number(0, "Uint8") == 2  # ImageProperties
    assert image.child(3).child(1).number(0) == 1  # RGB
    names = [output.text(0) for output in subgraph.children(3)]
    assert sorted(names) == ["logits", "probabilities"]
    for output in subgraph.children(3):
        (file,) = output.children(6)
        assert file.text(0) == "labels.txt" and file.number(2) == 2  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(exported["litert"].path) as archive:
        assert archive.read("labels.txt").decode("utf-8").splitlines() == LINES
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_data_of_litert_buffers_are_aligned(exported):
    """As the schema asks for: a processor may refuse to read floats from elsewhere."""
    from ai_edge_litert import schema_py_generated as schema

    content = np.frombuffer(pathlib.Path(exported["litert"].path).read_bytes(), "uint8")
    model = schema.Model.GetRootAs(content, 0)
    places = []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            table = buffer._tab
            places.append(table.Vector(table.Offset(4)))
    assert len(places) > 4 and {place % 16 for place in places} == {0}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", pytest.param("litert", marks=pytest.mark.slow),
                                    pytest.param("onnx", marks=pytest.mark.slow)])  # fmt: skip
def test_float16_is_smaller_and_near(format, exported, model, tmp_path):
    model = classifier(*(type(model.layers[1])(64, 3, padding="same", activation="relu") for _ in range(3)))
    reports = {
        precision: export(model, tmp_path / f"{precision}{SUFFIXES[format]}", format, METADATA, precision=precision)
        for precision in ("float32", "float16")
    }
    assert reports["float16"].size_bytes < 0.7 * reports["float32"].size_bytes
    assert reports["float32"].max_abs_difference < reports["float16"].max_abs_difference < 1e-2


@pytest.mark.slow
def test_batch_that_is_asked_is_fixed(model, tmp_path):
    report = export(model, tmp_path / "net", "openvino", METADATA, batch=4)
    runner = open_artefact(report.path)
    assert runner.inputs == {"images": ("uint8", (4, *SHAPE))} and runner.batch == 4
    assert sorted(path.name for path in (tmp_path / "net").iterdir() if path.suffix != "") == [
        "model.bin", "model.json", "model.xml",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_batch_that_is_asked_is_fixed_in_the_others(format, model, tmp_path):
    report = export(model, tmp_path / f"net{SUFFIXES[format]}", format, METADATA, batch=4)
    assert open_artefact(report.path).batch == 4


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", pytest.param("litert", marks=pytest.mark.slow),
                                    pytest.param("onnx", marks=pytest.mark.slow)])  # fmt: skip
def test_several_inputs_and_outputs_keep_their_names(format, tmp_path, monkeypatch):
    model = several()
    report = export(model, tmp_path / f"net{SUFFIXES[format]}", format)
    runner = open_artefact(report.path)
    assert set(runner.inputs) == {"numbers", "ids"} and set(runner.outputs) == {"sum", "raw"}
    inputs = {"numbers": np.ones((2, 4), "float32"), "ids": np.array([[0, 1], [1, 1]], "int32")}
    expected = model([inputs["numbers"], inputs["ids"]])
    for name, value in runner.run(inputs).items():
        np.testing.assert_allclose(value, expected[name], **TOLERANCE)
    names = {}
    monkeypatch.chdir(tmp_path)
    exec(opening_code(report.to_dict(), pathlib.Path(report.path).name), names)  # two inputs, by their names
    assert names["numbers"].shape == (1, 4) and names["ids"].dtype == np.int32 and len(names["outputs"]) == 2
    assert report.notes == (
        "no metadata of the data set: the artefact takes the model's own inputs, without preprocessing and labels",
    )


@pytest.mark.slow
def test_integers_of_litert_are_made_real_numbers_by_the_code_of_the_card(model, tmp_path, monkeypatch):
    """And a gate on the images that the integers were fitted to says that they were."""
    pytest.importorskip("litert_quantizer")
    data = (pixels(40), np.arange(40) % 3)
    report = export(
        model, tmp_path / "net.tflite", "litert", METADATA, precision="int8", calibration=data, max_accuracy_drop=100
    )
    assert "on 40 calibration images, most of which the integers were fitted to" in report.gate["text"]
    code = opening_code(report.to_dict(), "net.tflite", DATA)
    script = f'{code}\nassert outputs["logits"].dtype == np.int8\nnp.save("found.npy", logits)'
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    expected = open_artefact(tmp_path / "net.tflite").run(np.zeros((1, *SHAPE), "uint8"))["logits"]
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected)


@pytest.mark.slow
def test_mixed_precision_model_is_exported_in_float32(tmp_path):
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    model = classifier()
    report = export(model, tmp_path / "net.xml", "openvino", METADATA)
    keras.config.set_dtype_policy("float32")
    exact = classifier()
    exact.set_weights(model.get_weights())
    outputs = open_artefact(report.path).run({"images": pixels()})
    np.testing.assert_allclose(outputs["logits"], exact(fed(pixels())), **TOLERANCE)  # bfloat16 would be 1e-2 off
