"""An exported artefact gives the model's outputs where this package is not to be had."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from dirac_keras.deployment import export
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.runtimes import standalone
from dirac_keras.files.keras_file import METADATA_MEMBER, load_model, save_model
from dirac_keras.files.manifest import MANIFEST_FILE
from dirac_keras.models import build_diracnet
from pipelines import augment

CLASS_NAMES = [f"class {index}" for index in range(9)] + ["één  hond"]
DATA = {
    "name": "made_up",
    "image_shape": [8, 8, 3],
    "num_classes": 10,
    "class_names": CLASS_NAMES,
    "mean": [125.3, 123.0, 113.9],
    "std": [63.0, 62.1, 66.7],
    "resize": None,
    "num_train": 1,
    "num_validation": 0,
    "num_test": 1,
}
METADATA = {"data": DATA}
# Logits are of order 1 to 10; the same float32 operations in another order give some 1e-6.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def randomize(model):
    """Every weight and statistic off its start, and outputs that depend on the input.

    Fresh BatchNormalization is nearly the identity; too small kernels let the ReLUs die along the chain.
    """
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name == "kernel":
            weight.assign(random.standard_normal(weight.shape) * (3.0 if len(weight.shape) == 2 else 0.3))
        elif weight.name in ("gamma", "moving_variance", "identity_scale"):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(random.uniform(-0.5, 0.5, weight.shape))
    return model


def build(image_shape=(8, 8, 3), **kwargs):
    return randomize(build_diracnet(depth=10, width=0.25, num_classes=10, input_shape=image_shape, **kwargs))


def small_image_model(channels=3, activation=None):
    inputs = keras.Input((8, 8, channels), name="images")
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return randomize(keras.Model(inputs, keras.layers.Dense(10, activation=activation)(x)))


def pictures(*shape):
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def normalized(images):
    return ((images - np.array(DATA["mean"])) / np.array(DATA["std"])).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = build()
    head = model.layers[-1]
    head.bias.assign(head.bias - tf.reduce_mean(model(normalized(pictures(16, 8, 8, 3))), axis=0))
    return model  # no class wins for every image


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Report and signatures of an unfolded DiracNet."""
    report = export(model, tmp_path_factory.mktemp("exported") / "net", metadata=METADATA)
    artefact = tf.saved_model.load(report.path)
    yield report, artefact.signatures  # the artefact owns the variables: it has to live as long


def test_float_signature_gives_the_models_logits(model, exported):
    images = normalized(pictures(4, 8, 8, 3))
    logits = exported[1]["serving_default"](images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, model(images), **TOLERANCE)


def test_probabilities_are_the_softmax_of_the_logits(exported):
    outputs = exported[1]["serving_default"](images=tf.random.normal((4, 8, 8, 3)))
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(outputs["logits"]), rtol=1e-6)


def test_label_is_the_name_of_the_largest_logit(exported):
    outputs = exported[1]["serving_uint8"](images=tf.constant(pictures(32, 1, 1, 3)))  # plain colours
    names = [" ".join(CLASS_NAMES[index].split()) for index in np.argmax(outputs["logits"], axis=-1)]
    assert [label.decode() for label in outputs["label"].numpy()] == names
    assert len(set(names)) > 1  # else a constant would pass


def test_uint8_signature_normalizes(model, exported):
    images = pictures(4, 8, 8, 3)
    logits = exported[1]["serving_uint8"](images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, model(normalized(images)), **TOLERANCE)


@pytest.mark.slow
def test_bytes_signature_equals_uint8_signature_on_pngs_of_several_sizes(exported):
    images = [pictures(8, 8, 3), pictures(21, 13, 3)]
    encoded = tf.stack([tf.io.encode_png(image) for image in images])
    from_bytes = exported[1]["serving_bytes"](image_bytes=encoded)["logits"]
    for row, image in zip(from_bytes, images, strict=True):
        expected = exported[1]["serving_uint8"](images=tf.constant(image[None]))["logits"][0]
        np.testing.assert_allclose(row, expected, **TOLERANCE)  # another batch size, another order of sums


@pytest.mark.slow
def test_grey_png_to_an_rgb_model_is_the_same_value_in_every_channel(exported):
    grey = pictures(8, 8, 1)
    from_bytes = exported[1]["serving_bytes"](image_bytes=tf.stack([tf.io.encode_png(grey)]))["logits"]
    expected = exported[1]["serving_uint8"](images=tf.constant(np.repeat(grey, 3, -1)[None]))["logits"]
    np.testing.assert_allclose(from_bytes, expected, **TOLERANCE)


@pytest.mark.slow
def test_jpeg_is_decoded(exported):
    jpeg = tf.io.encode_jpeg(pictures(8, 8, 3))
    from_bytes = exported[1]["serving_bytes"](image_bytes=tf.stack([jpeg]))["logits"]
    pixels = tf.io.decode_jpeg(
        jpeg, dct_method="INTEGER_ACCURATE"
    )  # as viewers do; the faster method is off by 4 levels
    expected = exported[1]["serving_uint8"](images=pixels[None])["logits"]
    np.testing.assert_allclose(from_bytes, expected, **TOLERANCE)


def test_label_file_has_one_class_a_line(exported):
    lines = (pathlib.Path(exported[0].path) / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [*CLASS_NAMES[:9], "één hond"]


def test_metadata_are_beside_the_graph(exported):
    assert json.loads((pathlib.Path(exported[0].path) / METADATA_MEMBER).read_text()) == METADATA


def test_report_tells_signatures_difference_and_size(exported):
    report = exported[0]
    assert set(report.signatures) == {"serve", "serving_default", "serving_uint8", "serving_bytes"}
    assert report.signatures["serving_uint8"]["inputs"] == {"images": "uint8 (None, None, None, 3)"}
    assert report.signatures["serving_bytes"]["outputs"]["logits"] == "float32 (None, 10)"
    assert 0 <= report.max_abs_difference < 1e-3
    assert report.size_bytes == sum(
        file.stat().st_size
        for file in pathlib.Path(report.path).rglob("*")
        if file.is_file() and file.name != MANIFEST_FILE
    )
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert "serving_bytes: image_bytes: string (None) -> label: string (None)" in str(report)


def test_nothing_else_is_left_beside_the_artefact(exported):
    assert files(pathlib.Path(exported[0].path).parent) == ["net"]


@pytest.mark.slow
def test_artefact_serves_where_the_package_is_not(exported, tmp_path):
    code = (
        "import sys; sys.modules['dirac_keras'] = None; import tensorflow as tf; "
        "artefact = tf.saved_model.load(sys.argv[1]); print(artefact.serve(tf.zeros((2, 8, 8, 3))).shape)"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-c", code, exported[0].path], capture_output=True, text=True, cwd=tmp_path
    )
    assert process.stdout.strip() == "(2, 10)", process.stderr


@pytest.mark.parametrize("resize", [None, 12], ids=["plain", "centre_crop"])
@pytest.mark.parametrize("size", [(8, 8), (30, 17), (9, 25), (6, 5)], ids=str)
def test_view_is_the_pipelines_evaluation_view(resize, size, model):
    spec = ImageSpec.from_metadata({"data": {**DATA, "resize": resize}}, model)
    image = pictures(*size, 3)
    expected = augment.evaluation_view(image, (8, 8, 3), resize)
    np.testing.assert_array_equal(spec.view(image[None])[0], expected)
    np.testing.assert_array_equal(spec.view(image), expected)


def test_normalization_is_the_pipelines_to_the_bit(model):
    images = pictures(4, 8, 8, 3)
    spec = ImageSpec.from_metadata(METADATA, model)
    np.testing.assert_array_equal(spec.normalize(images), augment.normalize(images, DATA["mean"], DATA["std"]))


@pytest.mark.slow
def test_centre_crop_is_verified_too(model, tmp_path):
    report = export(model, tmp_path / "net", metadata={"data": {**DATA, "resize": 12}})
    image = pictures(30, 17, 3)
    expected = model(normalized(augment.evaluation_view(image, (8, 8, 3), 12).numpy())[None])
    artefact = tf.saved_model.load(report.path)
    logits = artefact.signatures["serving_bytes"](image_bytes=tf.stack([tf.io.encode_png(image)]))["logits"]
    np.testing.assert_allclose(logits, expected, **TOLERANCE)


@pytest.mark.slow
def test_model_read_from_a_file_exports_with_its_metadata(model, tmp_path):
    loaded, metadata = load_model(save_model(model, tmp_path / "net.keras", METADATA))
    report = export(loaded, tmp_path / "net", metadata=metadata, verify=False)
    assert report.max_abs_difference is None
    assert "not verified" in str(report)
    assert "serving_bytes" in report.signatures


def test_softmax_model_gives_its_probabilities_and_no_logits(tmp_path):
    network = small_image_model(activation="softmax")
    artefact = tf.saved_model.load(export(network, tmp_path / "net", metadata=METADATA, verify=False).path)
    images = normalized(pictures(4, 8, 8, 3))
    outputs = artefact.signatures["serving_default"](images=tf.constant(images))
    assert set(outputs) == {"probabilities", "label"}
    np.testing.assert_allclose(outputs["probabilities"], network(images), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_mixed_precision_model_exports_and_gives_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    report = export(build(), tmp_path / "net", metadata=METADATA)
    assert report.signatures["serving_uint8"]["outputs"]["logits"] == "float32 (None, 10)"


@pytest.mark.slow
def test_any_model_with_several_inputs_has_the_float_signature_alone(tmp_path):
    left, right = keras.Input((3,), name="left side"), keras.Input((None, 2), name="right")
    outputs = [keras.layers.Dense(2)(left), keras.layers.LSTM(3)(right)]
    report = export(randomize(keras.Model([left, right], outputs)), tmp_path / "net")
    assert set(report.signatures) == {"serve", "serving_default"}
    assert set(report.signatures["serve"]["inputs"]) == {"left_side", "right"}
    assert report.notes == ("no metadata of the data set: the float signature alone, without preprocessing and labels",)


def test_unnamed_input_is_called_inputs(tmp_path):
    network = keras.Sequential([keras.layers.Dense(2)])
    network(np.zeros((1, 3)))
    report = export(network, tmp_path / "net", verify=False)
    assert report.signatures["serve"]["inputs"] == {"inputs": "float32 (None, 3)"}


def test_five_channels_have_no_bytes_signature(tmp_path):
    data = {**DATA, "image_shape": [8, 8, 5], "mean": [1.0] * 5, "std": [2.0] * 5}
    report = export(small_image_model(5), tmp_path / "net", metadata={"data": data}, verify=False)
    assert set(report.signatures) == {"serve", "serving_default", "serving_uint8"}
    assert report.notes == ("no serving_bytes: image files are read in 1 or 3 channels, the model 5",)


def dense_model():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def test_existing_path_is_refused(tmp_path):
    (tmp_path / "net").mkdir()
    with pytest.raises(ValueError, match=r"path: .*net exists; give another `path`, or `overwrite=True` to replace it"):
        export(dense_model(), tmp_path / "net")


@pytest.mark.slow
def test_overwrite_swaps_the_artefact_whole(tmp_path):
    export(small_image_model(), tmp_path / "net", metadata=METADATA, verify=False)
    assert "assets" in files(tmp_path / "net")
    export(dense_model(), tmp_path / "net", overwrite=True, verify=False)
    assert not files(tmp_path / "net" / "assets")
    assert files(tmp_path) == ["net"]


@pytest.mark.parametrize("has_list", [True, False], ids=["listed", "of_an_earlier_version"])
def test_overwrite_stops_at_what_somebody_put_into_the_artefact(has_list, tmp_path):
    export(dense_model(), tmp_path / "net", verify=False)
    if not has_list:
        (tmp_path / "net" / MANIFEST_FILE).unlink()
    export(dense_model(), tmp_path / "net", overwrite=True, verify=False)
    (tmp_path / "net" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds what this program did not write, thesis\.txt: nothing is deleted"):
        export(dense_model(), tmp_path / "net", overwrite=True, verify=False)
    assert "thesis.txt" in files(tmp_path / "net")


def test_overwrite_never_replaces_a_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"exists and is no exported model, so it is not replaced\. Give another"):
        export(dense_model(), tmp_path, overwrite=True)
    assert files(tmp_path) == ["thesis.txt"]


@pytest.mark.slow
def test_artefact_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageSpec, "normalize", lambda self, images: tf.cast(images, tf.float32) / 255.0)
    with pytest.raises(RuntimeError, match=r"differs from the model: signature serving_\w+, output .*Nothing was"):
        export(small_image_model(), tmp_path / "net", metadata=METADATA)
    assert files(tmp_path) == []


@pytest.mark.slow
def test_outputs_that_hardly_depend_on_the_input_are_noted(tmp_path):
    network = small_image_model()
    network.layers[-1].kernel.assign(np.zeros(network.layers[-1].kernel.shape))
    (note,) = export(network, tmp_path / "net", metadata=METADATA).notes
    assert note == "the outputs hardly depend on the input: the comparison says little"


def test_failed_export_keeps_the_old_artefact(tmp_path, monkeypatch):
    export(dense_model(), tmp_path / "net", verify=False)
    before = (tmp_path / "net" / "saved_model.pb").read_bytes()
    script = tmp_path / "no_such_op.py"
    script.write_text("raise SystemExit('no such op')")
    monkeypatch.setattr(standalone, "__file__", str(script))
    with pytest.raises(RuntimeError, match=r"cannot be used in a clean process: no such op\. Nothing was written"):
        export(dense_model(), tmp_path / "net", overwrite=True)
    assert files(tmp_path) == ["net", "no_such_op.py"]
    assert (tmp_path / "net" / "saved_model.pb").read_bytes() == before


def test_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"path: .*file/net cannot be written: .*file is no folder"):
        export(dense_model(), tmp_path / "file" / "net")


def test_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(
        ValueError, match=r"format must be one of saved_model, onnx, litert, openvino\. Received format='onyx'"
    ):
        export(dense_model(), tmp_path / "net", format="onyx")


def test_missing_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    network = dense_model()
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"format='saved_model' needs TensorFlow, .*: pip install tensorflow$"):
        export(network, tmp_path / "net")
    assert files(tmp_path) == []


def test_unbuilt_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model must be a built keras\.Model: call it once on data"):
        export(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "net")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_shape": [9, 8, 3]}, r"image_shape=\(9, 8, 3\), the model takes \[\(None, 8, 8, 3\)\]"),
        (
            {"num_classes": 3, "class_names": ["a"] * 3},
            r"num_classes=3, the model gives .* \(1, 10\)\. Give the",
        ),
        ({"class_names": ["a", "b"]}, r"class_names must be 10 names \(num_classes\)\. Received 2"),
        ({"mean": [0.5]}, r"one value for each of the 3 channels\. Received mean=\[0\.5\], std=\[63\.0, "),
        ({"resize": 7}, r"resize must be at least 8, a side of the crop\. Received 7"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_metadata_that_do_not_fit_the_model_are_refused(change, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "net", metadata={"data": {**DATA, **change}})


def test_incomplete_metadata_name_what_is_missing(model, tmp_path):
    with pytest.raises(ValueError, match=r"metadata\['data'\] lacks image_shape, mean, num_classes\. Received"):
        export(model, tmp_path / "net", metadata={"data": {"std": [1.0]}})
