"""What cannot be exported is said before anything is written, and what goes wrong leaves nothing behind."""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.deployment import export, proof
from dirac_keras.deployment.formats import openvino, versions
from dirac_keras.deployment.formats.job import Job
from dirac_keras.deployment.formats.unknown import find_layer
from dirac_keras.deployment.placing import check_name, place
from dirac_keras.deployment.served import build_served
from tests.deployment.formats.networks import METADATA, SHAPE, classifier, pixels, randomize, several

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def model():
    return classifier()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_precision_that_a_format_lacks_is_told_with_the_formats_that_have_it(model, tmp_path):
    with pytest.raises(ValueError, match=r"precision of format saved_model must be one of float32, keep\. .*'int8'\. "
                       r"int8 is in the formats onnx, litert, openvino"):  # fmt: skip
        export(model, tmp_path / "net", precision="int8", metadata=METADATA)
    with pytest.raises(ValueError, match=r"precision of format onnx must be .*Received precision='keep'"):
        export(model, tmp_path / "net", "onnx", precision="keep", metadata=METADATA)


def test_integers_need_images_and_their_preprocessing(model, tmp_path):
    with pytest.raises(ValueError, match=r"precision='int8' needs `calibration`: some hundred images"):
        export(model, tmp_path / "net", "openvino", METADATA, precision="int8")
    with pytest.raises(ValueError, match=r"for classifiers of images whose preprocessing is known: give `input`"):
        export(model, tmp_path / "net", "openvino", precision="int8", calibration=pixels(40))


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("given", [{}, {"metadata": METADATA}, {"input": "standardized"}], ids=["none", "file", "told"])
def test_integers_are_for_one_input_and_one_output(precision, given, model, tmp_path):
    two = keras.Model(model.inputs, [model.outputs[0], layers.Dense(2, name="other")(model.layers[-2].output)])
    with pytest.raises(
        ValueError, match=r"of one input and one output\. Received 2 outputs \(\w+, \w+\)\. Give another"
    ):
        export(two, tmp_path / "net", "openvino", precision=precision, calibration=pixels(40), **given)
    with pytest.raises(ValueError, match=r"Received 2 inputs \(numbers, ids\)"):
        export(several(), tmp_path / "net", "openvino", precision=precision, calibration=pixels(40), **given)
    assert files(tmp_path) == []


def test_calibration_of_another_size_is_told(model, tmp_path):
    with pytest.raises(ValueError, match=r"calibration: the model takes images of 8x8x3, these are 9x8x3"):
        export(model, tmp_path / "net", "openvino", METADATA, calibration=np.zeros((20, 9, 8, 3), "uint8"))


@pytest.mark.parametrize("batch", [0, True, 2.0])
def test_batch_is_a_whole_number(batch, model, tmp_path):
    with pytest.raises(ValueError, match=r"batch must be a whole number above 0"):
        export(model, tmp_path / "net", "openvino", METADATA, batch=batch)


def test_batch_that_the_model_forbids_is_told(tmp_path):
    inputs = keras.Input(batch_shape=(5, *SHAPE))
    network = keras.Model(inputs, layers.Dense(3)(ops.reshape(inputs, (5, 192))))
    with pytest.raises(ValueError, match=r"batch: the model takes 5 samples at once and no other number.*batch=3"):
        export(network, tmp_path / "net", "openvino", METADATA, batch=3)


@pytest.mark.parametrize("opset", [9, 40])
def test_opset_too_old_or_too_new_is_told(opset, model, tmp_path):
    pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match=rf"opset must be 13 to 18: .*Received opset={opset}"):
        export(model, tmp_path / "net.onnx", "onnx", METADATA, opset=opset)


def test_opset_of_another_format_and_of_int4_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"`opset` is of the format onnx\. Leave it out\. Received opset=15"):
        export(model, tmp_path / "net.tflite", "litert", METADATA, opset=15)
    with pytest.raises(ValueError, match=r"`opset` is 21 in int4"):
        export(model, tmp_path / "net.onnx", "onnx", METADATA, precision="int4", calibration=pixels(40), opset=18)


@pytest.mark.parametrize(
    ("format", "name", "hub", "hint"),
    [
        (
            "litert",
            "net.onnx",
            False,
            r"net\.onnx ends in \.onnx, which is not the format litert\. Give one .*/net\.tflite\.",
        ),
        ("onnx", "net.keras", False, r"one that ends in \.onnx, such as \S*net\.onnx\."),
        ("openvino", "net.bin", False, r"ends in \.xml, such as \S*net\.xml, or a folder's\."),
        ("saved_model", "net.tflite", False, r"Give a folder's name, without a suffix, such as \S*net\."),
        ("onnx", "net.onnx", True, r"not a folder as hubs keep it.* Give a folder's name, without a suffix"),
    ],
)
def test_suffix_of_another_format_is_refused_with_the_right_one(format, name, hub, hint, model, tmp_path):
    with pytest.raises(ValueError, match=hint):
        export(model, tmp_path / name, format, METADATA, hub=hub)
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["net.v2.xml", "net.v2", "net"])
def test_other_suffixes_are_part_of_a_name(name):
    check_name(pathlib.Path(name), "openvino")


def test_identity_apart_is_refused_where_it_has_no_effect(model, tmp_path):
    options = {"precision": "int4", "calibration": pixels(40), "quantization": {"cures": ("follow", "identity_apart")}}
    with pytest.raises(ValueError, match=r"`identity_apart` has no effect in int4 of openvino: the identity taps are"):
        export(model, tmp_path / "net.xml", "openvino", METADATA, **options)


@pytest.mark.parametrize("format", ["saved_model", "openvino"])
def test_folders_that_were_made_go_if_nothing_is_written(format, tmp_path):
    with pytest.raises(KeyError), place(tmp_path / "new" / "below" / "net", format):
        assert (tmp_path / "new" / "below").is_dir()
        raise KeyError
    assert files(tmp_path) == []


def test_runtime_too_old_is_told(model, tmp_path, monkeypatch):
    monkeypatch.setattr(versions.importlib.metadata, "version", lambda package: "2023.1.0")
    with pytest.raises(ValueError, match=r"format='openvino' needs openvino 2026\.0 or newer\. Received openvino 2023"):
        export(model, tmp_path / "net", "openvino", METADATA)


@pytest.mark.parametrize(
    ("format", "package"), [("onnx", "onnx"), ("litert", "ai-edge-litert"), ("openvino", "openvino")]
)
def test_missing_extra_is_named(format, package, model, tmp_path, monkeypatch):
    def absent(name):
        raise versions.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.importlib.metadata, "version", absent)
    with pytest.raises(
        ImportError, match=rf"'{format}' needs {package}, which .* pip install 'dirac_keras\[{format}\]"
    ):
        export(model, tmp_path / "net", format, METADATA)
    assert files(tmp_path) == []


def test_oldest_releases_are_those_of_the_extras():
    import configparser
    import pathlib

    config = configparser.ConfigParser()
    config.read(pathlib.Path(__file__).parents[3] / "setup.cfg")
    extras = "\n".join(config["options.extras_require"].values())
    for package, oldest in versions.OLDEST.items():
        assert f"\n{package}>={'.'.join(map(str, oldest))}\n" in f"\n{extras}\n"


def test_weights_that_are_not_finite_are_named(tmp_path):
    network = classifier()
    network.get_layer("second").bias.assign(np.full(6, np.nan))
    with pytest.raises(ValueError, match=r"not finite \(NaN or infinite\) cannot serve: second/bias \(6 of 6\)"):
        export(network, tmp_path / "net", "openvino", METADATA)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net.xml", "net"])
def test_overwrite_replaces_what_export_wrote_and_nothing_else(name, model, tmp_path):
    path = tmp_path / name
    export(model, path, "openvino", METADATA)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"exists"):
        export(model, path, "openvino", METADATA)
    export(model, path, "openvino", METADATA, overwrite=True)
    assert files(tmp_path) == before
    stranger = path / "thesis.txt" if path.is_dir() else path
    stranger.write_text("years of work")
    if not path.is_dir():
        path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"did not write, thesis|exists, and belongs to no|is no exported model"):
        export(model, path, "openvino", METADATA, overwrite=True)
    assert stranger.read_text() == "years of work"


def test_parts_of_something_else_beside_the_place_are_left_alone(model, tmp_path):
    (tmp_path / "net.bin").write_text("years of work")
    with pytest.raises(ValueError, match=r"net\.bin exists, and belongs to no exported net\.xml"):
        export(model, tmp_path / "net.xml", "openvino", METADATA, overwrite=True)


@pytest.mark.slow
def test_artefact_that_differs_is_not_written(model, tmp_path, monkeypatch):
    def wrong(self, outputs=("logits", "probabilities"), input_type="uint8"):
        from dataclasses import replace

        spec = replace(self.spec, mean=tuple(mean + 1 for mean in self.spec.mean))  # a grey level
        return build_served(self.model, spec, self.head, self.batch, outputs, input_type)

    monkeypatch.setattr(Job, "served", wrong)
    with pytest.raises(RuntimeError, match=r"the artefact differs from the model: output logits.*Nothing was written"):
        export(model, tmp_path / "net", "openvino", METADATA)
    assert files(tmp_path) == []


@pytest.mark.slow
def test_artefact_that_says_something_else_of_itself_is_not_written(model, tmp_path, monkeypatch):
    describe = openvino.describe

    def wrong(job, path):
        describe(job, path)
        text = path.with_suffix(".json").read_text().replace('"resize": 12', '"resize": 16')
        path.with_suffix(".json").write_text(text)

    monkeypatch.setattr(openvino, "describe", wrong)
    with pytest.raises(RuntimeError, match=r"says resize=16 of itself, not 12\. Nothing was written"):
        export(model, tmp_path / "net", "openvino", METADATA)
    assert files(tmp_path) == []


@pytest.mark.slow
def test_failure_keeps_the_old_artefact(model, tmp_path, monkeypatch):
    export(model, tmp_path / "net.xml", "openvino", METADATA)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    monkeypatch.setattr(proof, "TOLERANCES", {"float32": 0.0})
    monkeypatch.setattr(proof, "signal_to_noise_db", lambda *_: 0.0)
    monkeypatch.setattr(proof, "_check_close", lambda job, *_: (_ for _ in ()).throw(proof.RunError("no")))
    with pytest.raises(RuntimeError, match="no"):
        export(model, tmp_path / "net.xml", "openvino", METADATA, overwrite=True)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.slow
def test_gate_that_is_not_met_writes_nothing(model, tmp_path):
    with pytest.raises(RuntimeError, match=r"SQNR .* less than `min_sqnr=500`.*Nothing was written"):
        export(model, tmp_path / "net", "openvino", METADATA, min_sqnr=500, gate_data=pixels(20), precision="float16")
    assert files(tmp_path) == []


@pytest.mark.slow
def test_gate_that_is_met_is_reported(model, tmp_path):
    data = (pixels(20), np.zeros(20, int))
    report = export(
        model, tmp_path / "net", "openvino", METADATA, max_accuracy_drop=0.3, min_sqnr=35, gate_data=data,
        precision="float16",
    )  # fmt: skip
    assert report.gate["accuracy_drop"] == 0.0 and report.gate["sqnr_db"] > 35 and report.gate["images"] == 20
    assert "gate: SQNR" in str(report)


def test_gate_needs_classes_for_the_accuracy(model, tmp_path):
    with pytest.raises(ValueError, match=r"`max_accuracy_drop` needs images with their classes: give `gate_data`"):
        export(model, tmp_path / "net", "openvino", METADATA, max_accuracy_drop=1, gate_data=pixels(20))
    with pytest.raises(ValueError, match=r"need images to measure on: give `gate_data`"):
        export(model, tmp_path / "net", "openvino", METADATA, min_sqnr=1)


def test_place_that_cannot_be_written_is_named_not_the_temporary_one(model, tmp_path):
    (tmp_path / "file").write_text("")
    for format in ("saved_model", "openvino"):
        with pytest.raises(ValueError, match=r"path: \S*/file/net cannot be written: \S*/file is no folder"):
            export(model, tmp_path / "file" / "net", format, METADATA)


class Odd(layers.Layer):
    """The order of numbers, which neither LiteRT nor ONNX has an operation for."""

    def call(self, x):
        import tensorflow as tf

        return x * tf.cast(tf.raw_ops.Betainc(a=ops.abs(x) + 1.0, b=ops.ones_like(x), x=ops.sigmoid(x)), x.dtype)

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.slow
@pytest.mark.parametrize("format", ["openvino", pytest.param("litert", marks=pytest.mark.slow),
                                    pytest.param("onnx", marks=pytest.mark.slow)])  # fmt: skip
def test_operation_that_is_not_known_is_named_with_its_layer(format, tmp_path):
    for package in {"litert": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnxruntime"]}.get(format, []):
        pytest.importorskip(package)
    network = randomize(classifier(Odd(name="odd_one")))
    with pytest.raises(
        ValueError, match=r"does not know the operation \w*Betainc, of the layer odd_one \(Odd\)\. Write"
    ):
        export(network, tmp_path / "net", format, METADATA)
    assert files(tmp_path) == []


def test_layer_of_a_node_is_the_innermost():
    network = classifier()
    assert find_layer(network, "served_1/small_1/second_1/convolution") == "second (Conv2D)"
    assert find_layer(network, "served_1/preprocessing/mul") is None


@pytest.mark.slow
def test_layers_that_scale_their_images_themselves_put_the_preprocessing_inside(tmp_path):
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs))
    network = randomize(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))))
    report = export(network, tmp_path / "net", "openvino")
    assert report.signatures["serve"]["inputs"] == {"images": "uint8 (None, 8, 8, 3)"}
    assert report.notes == ()
