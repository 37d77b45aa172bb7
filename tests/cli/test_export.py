"""`dirac-keras export` to the formats: what it reads images from, and what it refuses."""

import logging
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import dirac_keras
from dirac_keras.cli import export as command_module
from dirac_keras.cli.pictures import Source
from dirac_keras.deployment import quantization
from dirac_keras.deployment.formats.registry import FORMATS, PRECISIONS
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.pictures import fed
from dirac_keras.deployment.runtimes import open_artefact
from dirac_keras.errors import RunError
from dirac_keras.files.keras_file import save_model
from pipelines import load_splits
from tests.cli.entry import status_of
from tests.deployment.formats.networks import METADATA, SHAPE, classifier, randomize

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A `.keras` file with what its data were."""
    return pathlib.Path(save_model(classifier(), tmp_path_factory.mktemp("cli") / "net.keras", METADATA))


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments):
        status = status_of(["export", *arguments], monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return call


def photos(folder, count=20):
    """Image files of another size than the model's, two of them in a folder below."""
    (folder / "more").mkdir(parents=True)
    images = np.random.default_rng(5).integers(0, 256, (count, 20, 16, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        place = folder / "more" if index < 2 else folder
        (place / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())
    return folder


def source(network=None):
    return Source(network or classifier(), METADATA, "net.keras", None, None, None, None, 0, None)


def test_formats_and_precisions_of_the_help_are_those_of_the_registry():
    assert {name: one.suffix for name, one in FORMATS.items()} == command_module.FORMATS
    assert {*command_module.PRECISIONS} == {*PRECISIONS, "keep"}


def test_files_of_a_folder_are_seen_as_evaluation_sees_them(tmp_path):
    found = source().read([str(photos(tmp_path / "photos"))], "calibration", 512, "train")
    assert found.pixels.shape == (20, *SHAPE) and found.labels is None
    spec = ImageSpec.from_metadata(METADATA, classifier())
    first = tf.io.decode_png((tmp_path / "photos" / "10.png").read_bytes())
    np.testing.assert_array_equal(found.pixels[0], spec.view(first))  # in the order of the names


def test_fewer_files_are_drawn_with_the_seed(tmp_path):
    folder = photos(tmp_path / "photos")
    one, same = (source().read([str(folder)], "calibration", 7, "train").pixels for _ in range(2))
    assert len(one) == 7
    np.testing.assert_array_equal(one, same)


def digits():
    """A classifier of the embedded digits, untrained, and what its file would say."""
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))
    return randomize(network), {"data": load_splits("digits").spec.to_dict()}


@pytest.mark.parametrize("part", ["train", "test"])
def test_data_set_gives_the_pixels_that_it_is_fed_with_and_classes(part):
    network, metadata = digits()
    found = Source(network, metadata, "net", None, None, None, None, 0, None).read(["digits"], "gate_data", 100, part)
    splits = load_splits("digits", eval_batch_size=100, **{f"max_{part}": 100})
    images, labels = next(iter(splits.test() if part == "test" else splits.train_in_order()))
    spec = ImageSpec.from_metadata(metadata, network)
    np.testing.assert_allclose(fed(found.pixels, spec), images, atol=1e-6)
    np.testing.assert_array_equal(found.labels, labels)


def class_folder(root, each):
    """Folders of the digits' classes, some images in each."""
    images = np.random.default_rng(0).integers(0, 256, (10, each, 8, 8, 1), dtype=np.uint8)
    for name, of in enumerate(images):
        (root / str(name)).mkdir(parents=True)
        for number, image in enumerate(of):
            (root / str(name) / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    return f"folder:{root}"


def digits_source():
    return Source(*digits(), "net", None, None, None, None, 0, None)


def test_calibration_takes_all_images_of_a_plain_folder(tmp_path):
    """It needs no split: one image a class will do, of which none could be a test image."""
    name = class_folder(tmp_path / "one", 1)
    found = digits_source().read([name], "calibration", 512, "all")
    assert found.labels.tolist() == list(range(10)) and found.what == "images of folder:one"
    kept = digits_source().read([name], "calibration", 4, "all")
    assert len(kept) == 4 and all(
        found.pixels[k].tolist() == p.tolist() for k, p in zip(kept.labels, kept.pixels, strict=True)
    )


@pytest.mark.slow
def test_calibration_leaves_the_images_that_the_gate_is_measured_on(tmp_path):
    name = class_folder(tmp_path / "five", 5)
    everything, without = (digits_source().read([name], "calibration", 512, "all", apart) for apart in ((), (name,)))
    tested = digits_source().read([name], "gate_data", 512, "test")
    assert (len(everything), len(without), len(tested)) == (50, 40, 10)
    assert not {p.tobytes() for p in without.pixels} & {p.tobytes() for p in tested.pixels}
    assert without.what == "training images of folder:five" and tested.what == "test images of folder:five"


@pytest.mark.slow
def test_folder_with_a_test_part_is_calibrated_with_its_training_part(tmp_path):
    class_folder(tmp_path / "parts" / "train", 2)
    class_folder(tmp_path / "parts" / "test", 1)
    assert len(digits_source().read([f"folder:{tmp_path / 'parts'}"], "calibration", 512, "all")) == 20


@pytest.mark.slow
def test_gate_is_measured_on_all_data_sets_of_the_calibration(tmp_path, command, monkeypatch, caplog):
    name, seen = class_folder(tmp_path / "five", 5), {}
    path = save_model(digits()[0], tmp_path / "net.keras", digits()[1])

    def stop(*arguments, gate_data, calibration, **options):
        seen.update(gate=gate_data, calibration=calibration)
        raise RunError("enough seen")

    monkeypatch.setattr(dirac_keras, "export", stop)
    data = ("--calibration", "digits", "--calibration", name, "--calibration", "digits", "--no-card")
    options = ("--format", "onnx", "--precision", "int8", "--min-sqnr", "9", "--max-gate", "20")
    with caplog.at_level(logging.INFO):
        status, _, err = command(path, *options, *data)
    assert status == 1 and "enough seen" in err
    assert seen["gate"].what == "test images of digits and test images of folder:five" and len(seen["gate"]) == 20
    assert len(seen["calibration"]) == 171 + 40 + 170
    assert caplog.text.count("a fifth of each class tests") == 1  # the table of the folder, which is read twice


@pytest.mark.parametrize(
    ("option", "without"),
    [
        (("--gate-data", "digits"), "a gate, --max-accuracy-drop or --min-sqnr"),
        (("--max-gate", "3"), "a gate, --max-accuracy-drop or --min-sqnr"),
        (("--max-calibration", "3"), "--calibration"),
        (("--max-finetune", "3"), "--finetune-epochs"),
        (("--license", "mit", "--no-card"), "a card or --hub"),
        (("--benchmark", "b.json", "--no-card"), "a card"),
    ],
)
def test_option_with_nothing_to_work_on_is_refused(option, without, file, tmp_path, command):
    status, _, err = command(file, "--format", "openvino", *option, "--output", tmp_path / "net.xml")
    assert status == 1 and f"{option[0]} has no effect without {without}. Leave it out" in err


def test_errors_name_the_option_of_the_output(file, tmp_path, command):
    status, _, err = command(file, "--format", "onnx", "--output", tmp_path / "net.tflite")
    assert status == 1 and f"output: {tmp_path / 'net.tflite'} ends in .tflite" in err
    (tmp_path / "net.xml").write_text("mine")
    status, _, err = command(file, "--format", "openvino", "--output", tmp_path / "net.xml", "--overwrite")
    assert status == 1 and f"output: {tmp_path / 'net.xml'} exists and is no exported model" in err
    assert "Give another --output" in err


def test_data_set_of_other_classes_does_not_fit():
    with pytest.raises(ValueError, match=r"calibration: the model has 3 classes, data digits has 10|takes images of"):
        source().read(["digits"], "calibration", 100, "train")


def test_what_is_no_data_set_and_no_file_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"calibration must be a data set \(digits, .*Received no/such, which is none"):
        source().read(["no/such"], "calibration", 100, "train")
    with pytest.raises(ValueError, match=r"calibration: .* holds no image file"):
        source().read([str(tmp_path)], "calibration", 100, "train")


def test_integers_without_images_are_refused_in_the_words_of_the_command(file, tmp_path, command):
    status, _, err = command(file, "--format", "onnx", "--precision", "int8", "--output", tmp_path / "net.onnx")
    assert status == 1 and "precision int8 needs images to quantize with: give --calibration" in err


@pytest.mark.parametrize("option", [("--max-kept", "1"), ("--finetune-epochs", "1"), ("--identity-apart",)])
def test_what_is_for_integers_alone_is_refused_in_float(option, file, tmp_path, command):
    status, _, err = command(file, "--format", "onnx", *option, "--output", tmp_path / "net.onnx")
    assert status == 1 and f"{option[0]} is for the precisions int8 and int4. Received precision float32" in err


@pytest.mark.slow
def test_integers_are_fine_tuned_on_the_calibration_images(file, tmp_path, command, monkeypatch):
    seen = {}

    def quantize(model, images, finetuning, cures, whole=quantization.quantize, **options):
        seen.update(finetuning, scaled=finetuning["prepare"](finetuning["dataset"]), cures=cures)
        return whole(model, images, finetuning=finetuning, cures=("follow",), **options)

    monkeypatch.setattr(quantization, "quantize", quantize)
    output, folder = tmp_path / "net.xml", photos(tmp_path / "photos")
    options = ("--precision", "int8", "--calibration", folder, "--finetune-epochs", "1", "--identity-apart")
    status, out, err = command(file, "--format", "openvino", *options, "--output", output)
    assert status == 0, err
    assert "fine-tuning on 20 images" in out and "1 epoch\n" in out and output.exists()
    assert "* follow" in out and "note: 20 images are few to calibrate on; 512 are usual" in out  # what was tried
    assert "20 images are few to calibrate on" in output.with_name("net.xml.md").read_text(encoding="utf-8")
    assert seen["cures"] == (*quantization.AUTO, "identity_apart")
    assert seen["epochs"] == 1 and seen["dataset"].dtype == np.uint8
    np.testing.assert_array_equal(seen["scaled"], fed(seen["dataset"], ImageSpec.from_metadata(METADATA, classifier())))


@pytest.mark.slow
def test_artefact_is_compared_on_the_files_and_stands_beside_the_model(file, tmp_path, command):
    folder = photos(tmp_path / "photos")
    status, out, err = command(file, "--format", "openvino", "--precision", "float16", "--calibration", folder)
    assert status == 0, err
    assert f"100.0% of 20 image files of {folder};" in " ".join(out.split())
    assert open_artefact(file.with_name("net-float16.xml")).inputs == {"images": ("uint8", (None, *SHAPE))}
    assert "cat" in file.with_name("net-float16.xml.md").read_text(encoding="utf-8")  # the card


@pytest.mark.slow
def test_gate_that_is_not_met_ends_with_status_1_and_nothing_written(file, tmp_path, command):
    folder = photos(tmp_path / "photos")
    gate = ("--min-sqnr", "500", "--gate-data", folder)
    output = tmp_path / "gated.xml"
    status, _, err = command(file, "--format", "openvino", "--precision", "float16", *gate, "--output", output)
    assert status == 1 and "less than --min-sqnr 500" in err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_model_that_does_not_say_its_data_is_told_the_option_that_gives_images(caplog):
    with caplog.at_level("INFO", "dirac_keras"):
        assert Source(classifier(), {}, "net.keras", None, None, None, None, 0, None).read_own(8) is None
    assert caplog.messages == [
        "compared on random images: net.keras does not say what it was trained on; --calibration gives others"
    ]
