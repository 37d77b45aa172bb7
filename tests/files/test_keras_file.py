"""Files are whole or absent, and a `.keras` file that cannot be used says why in one line."""

import json
import os
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from dirac_keras.files.atomic import atomic_path, write_text
from dirac_keras.files.keras_file import METADATA_MEMBER, load_model, save_model
from dirac_keras.models import build_diracnet
from dirac_keras.training.optimization.optimizers import CoupledSGD

METADATA = {"data": {"name": "digits", "mean": [1.5], "class_names": ["null", "één"]}}
IMAGES = np.random.default_rng(0).standard_normal((4, 8, 8, 1)).astype("float32")


@keras.saving.register_keras_serializable(package="somebody_elses")
class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs


@pytest.fixture(scope="module")
def model():
    model = build_diracnet(depth=10, width=0.5, num_classes=10, input_shape=(8, 8, 1))
    random = np.random.default_rng(1)
    for weight in model.weights:  # off its start, statistics too; all positive, as a variance must be
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return save_model(model, tmp_path_factory.mktemp("saved") / "net.keras", METADATA)


def small_model():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_loaded_model_gives_the_same_outputs(model, saved):
    loaded, _ = load_model(saved)
    # The same weights and operations: not one bit may differ.
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_metadata_come_back(saved):
    assert load_model(saved)[1] == METADATA


def test_keras_itself_loads_a_file_with_metadata(model, saved):
    with zipfile.ZipFile(saved) as archive:
        assert json.loads(archive.read(METADATA_MEMBER)) == METADATA
    np.testing.assert_array_equal(keras.saving.load_model(saved)(IMAGES), model(IMAGES))


def test_file_that_keras_wrote_has_empty_metadata(tmp_path):
    small_model().save(tmp_path / "plain.keras")
    assert load_model(tmp_path / "plain.keras")[1] == {}


@pytest.mark.slow
def test_compiled_model_loads_in_a_process_that_imports_keras_file_alone(tmp_path):
    model = build_diracnet(depth=10, width=0.5, num_classes=10, input_shape=(8, 8, 1))
    optimizer = CoupledSGD(0.1)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    path = save_model(model, tmp_path / "compiled.keras")
    code = (
        "import sys; from dirac_keras.files.keras_file import load_model; "
        "print(type(load_model(sys.argv[1])[0].optimizer).__name__)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert process.stdout.strip() == "CoupledSGD", process.stderr


def test_run_folder_stands_for_its_model(model, tmp_path):
    save_model(model, tmp_path / "model.keras", METADATA)
    assert load_model(tmp_path)[1] == METADATA


def test_folders_above_are_made(tmp_path):
    assert save_model(small_model(), tmp_path / "a" / "b" / "net.keras").is_file()


def test_existing_file_is_refused(saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match=r"path: .*net\.keras exists; give another `path`, or `overwrite=True` to"):
        save_model(small_model(), saved)
    assert saved.read_bytes() == before


def test_existing_file_is_replaced_with_overwrite(tmp_path):
    path = save_model(small_model(), tmp_path / "net.keras", METADATA)
    save_model(small_model(), path, {"data": None}, overwrite=True)
    assert load_model(path)[1] == {"data": None}
    assert files(tmp_path) == ["net.keras"]


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save_model(small_model(), tmp_path / "net.keras", METADATA)
    before = path.read_bytes()

    def half_written(model, filepath):
        filepath.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.saving, "save_model", half_written)
    with pytest.raises(ValueError, match=r"net\.keras cannot be written: .*No space left on device"):
        save_model(small_model(), path, overwrite=True)
    assert files(tmp_path) == ["net.keras"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("metadata", [{"mean": np.zeros(3)}, {"mean": float("nan")}], ids=["array", "nan"])
def test_metadata_that_json_cannot_hold_are_refused(metadata, tmp_path):
    with pytest.raises(ValueError, match=r"metadata must be JSON-safe: .*Received metadata="):
        save_model(small_model(), tmp_path / "net.keras", metadata)
    assert files(tmp_path) == []


def test_name_without_keras_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.keras\. Received path='.*net\.h5'"):
        save_model(small_model(), tmp_path / "net.h5")


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(ValueError, match=r"path: .*file/net\.keras cannot be written: .*file is no folder"):
        save_model(small_model(), tmp_path / "file" / "net.keras")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path: .*no\.keras does not exist\. Give a \.keras file or the folder"):
        load_model(tmp_path / "no.keras")


def test_folder_without_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder without model\.keras\. Give a \.keras file or the folder of"):
        load_model(tmp_path)


def test_unfinished_run_says_how_to_go_on(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"without model\.keras\. The run is not finished: train again"):
        load_model(tmp_path)


def test_exported_folder_says_what_to_load_instead(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is an exported SavedModel\. Give the \.keras file it was made from"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.weights.h5", r"holds weights alone: the network is not in it\. Build the network"),
        ("net.ckpt.index", r"a checkpoint of TensorFlow: weights alone"),
        ("net.tflite", r"a LiteRT model, without layers\. Give the \.keras file"),
        (
            "net.txt",
            r'is no \.keras file by its name\. Save the whole model from Python: `model\.save\("NAME\.keras"\)`',
        ),
    ],
)
def test_other_kinds_of_files_say_what_they_are(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / name)


def test_whole_model_of_an_earlier_keras_is_read(tmp_path):
    """Compiled with a loss in a text, which Keras 3 cannot read back from such a file."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.save(tmp_path / "old.h5")
    loaded, metadata = load_model(tmp_path / "old.h5")
    assert metadata == {}
    inputs = np.arange(6.0, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_weights_under_the_name_of_a_model_are_refused(tmp_path):
    small_model().save_weights(tmp_path / "net.weights.h5")
    os.rename(tmp_path / "net.weights.h5", tmp_path / "net.h5")
    with pytest.raises(ValueError, match=r"net\.h5 holds weights alone: the network is not in it"):
        load_model(tmp_path / "net.h5")


def test_truncated_file_is_named(saved, tmp_path):
    content = saved.read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.keras is no \.keras zip, or it is damaged or cut short\. Write it"):
        load_model(tmp_path / "cut.keras")


def test_one_flipped_byte_of_a_weight_is_found(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1  # the middle of the file is weights
    (tmp_path / "flipped.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"flipped\.keras is damaged in its member model\.weights\.h5\. Write it"):
        load_model(tmp_path / "flipped.keras")


def test_other_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(ValueError, match=r"other\.keras is a zip, but no \.keras file: it holds no config\.json"):
        load_model(tmp_path / "other.keras")


@pytest.fixture
def unknown_class(tmp_path):
    """A file whose layer is not known here, though its module may be imported."""
    inputs = keras.Input((3,))
    path = save_model(keras.Model(inputs, Doubling()(inputs)), tmp_path / "custom.keras")
    known = keras.saving.get_custom_objects()
    cls = known.pop("somebody_elses>Doubling")
    yield path
    known["somebody_elses>Doubling"] = cls


def test_unknown_class_is_named(unknown_class):
    with pytest.raises(ValueError, match=r"needs 'Doubling', which is not known here\. Give .*`imports=MODULE`"):
        load_model(unknown_class)


def test_other_loading_errors_name_path_and_version(tmp_path):
    inputs = keras.Input((3,))
    path = save_model(keras.Model(inputs, keras.layers.Dense(2)(inputs)), tmp_path / "net.keras")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(b'"units": 2', b'"units": -2'))
    version = re.escape(keras.__version__)
    with pytest.raises(ValueError, match=rf"other\.keras cannot be loaded \(written by Keras {version}.*units=-2"):
        load_model(tmp_path / "other.keras")


def test_write_text_replaces_the_file(tmp_path):
    write_text(tmp_path / "a.json", "old")
    write_text(tmp_path / "a.json", "één\n")
    assert (tmp_path / "a.json").read_bytes() == "één\n".encode()
    assert files(tmp_path) == ["a.json"]


def test_temporary_path_is_beside_and_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "a.png") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".png")
        temporary.write_bytes(b"")


def test_error_in_the_body_keeps_the_old_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(tmp_path / "out") as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("half")
        raise RuntimeError("stop")
    assert files(tmp_path) == ["out"]
    assert files(tmp_path / "out") == ["old"]


def test_folder_is_replaced_whole(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with atomic_path(tmp_path / "out") as temporary:
        (temporary / "sub").mkdir(parents=True)
        (temporary / "sub" / "new").write_text("new")
    assert files(tmp_path) == ["out"]
    assert files(tmp_path / "out") == ["sub"]


def test_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    rename = os.rename

    def refuse_new(source, target):
        if ".tmp-" in str(source):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse_new)
    with (
        pytest.raises(ValueError, match=r"cannot be written: .*Input/output error"),
        atomic_path(tmp_path / "out") as temporary,
    ):
        temporary.mkdir()
    assert files(tmp_path) == ["out"]
    assert files(tmp_path / "out") == ["old"]


def test_file_modes_follow_the_umask(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    # A temporary file made private would make the result unreadable to others.
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_of_classes_from_early_files_are_spelled_with_their_joiners(tmp_path):
    """Folders of the same classes are read with joiners now: a network of before is still of these classes."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    names = [r"\u0645\u200c".replace(r"\u0645", "\u0645"), "\U0001f408" + r"\u200d" + "\u2b1b"]
    save_model(model, tmp_path / "model.keras", {"data": {"name": "x", "class_names": names}})
    found = load_model(tmp_path / "model.keras")[1]["data"]["class_names"]
    assert found == ["\u0645\u200c", "\U0001f408\u200d\u2b1b"]
