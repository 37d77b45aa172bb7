"""A file is checked before it is unpacked, and damage of any kind is one error with the file's name."""

import io
import json
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from dirac_keras.files.keras_file import METADATA_MEMBER, load_model


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Name -> content of what Keras writes for a small network."""
    path = tmp_path_factory.mktemp("net") / "net.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="net").save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED, **changed):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**members, **changed}.items():
            archive.writestr(name, content)
    return path


def test_deflated_file_is_read_as_a_stored_one(members, tmp_path):
    path = write(tmp_path / "net.keras", members, zipfile.ZIP_DEFLATED)
    with h5py.File(io.BytesIO(members["model.weights.h5"])) as weights:
        kernel = np.array(weights["layers/dense/vars/0"])
    np.testing.assert_array_equal(load_model(path)[0].get_weights()[0], kernel)


WRONG_SHAPES = {
    "array": (b"[]", r"Expected `object`, got `array`"),
    "number_for_list": (b'{"data": {"mean": 3}}', r"Expected `array`, got `int` - at `\$\.data\.mean`"),
    "text_for_number": (b'{"seed": "x"}', r"Expected `int`, got `str` - at `\$\.seed`"),
    "zero_deviation": (b'{"data": {"std": [0]}}', r"Expected `float` > 0\.0 - at `\$\.data\.std"),
    "not_a_number": (b'{"data": {"mean": [NaN]}}', r"JSON is malformed"),
    "endless_side": (b'{"data": {"image_shape": [1e9, 1, 3]}}', r"Expected `int`"),
    "no_text": (b"\xff\xfe", r"JSON is malformed"),
    "deep": (b'{"position":' + b"[" * 100_000, r"maximum recursion depth|Expected `object`"),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_metadata_of_the_wrong_shape_name_file_and_place(case, members, tmp_path):
    content, message = WRONG_SHAPES[case]
    path = write(tmp_path / "net.keras", {**members, METADATA_MEMBER: content})
    with pytest.raises(ValueError, match=r"net\.keras: its member dirac_keras\.json is not .*" + message):
        load_model(path)


def test_keras_own_metadata_of_the_wrong_shape_name_file_and_place(members, tmp_path):
    path = write(tmp_path / "net.keras", {**members, "metadata.json": b"[1]"})
    with pytest.raises(ValueError, match=r"net\.keras: its member metadata\.json is not Keras' own.*got `array`"):
        load_model(path)


@pytest.mark.slow
def test_every_flipped_bit_of_the_zip_s_headers_is_an_error_or_does_nothing(members, tmp_path):
    """Flipped: each byte of the local headers and of the directory, one bit of it, in turn."""
    path = write(tmp_path / "net.keras", members)
    content, weights = path.read_bytes(), load_model(path)[0].get_weights()
    with zipfile.ZipFile(path) as archive:
        headers = [at for m in archive.infolist() for at in range(m.header_offset, m.header_offset + 30)]
        headers += range(archive.start_dir, len(content))
    outcomes = {"refused": 0, "the same": 0}
    for at in headers[::3]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << (at % 8)
        (tmp_path / "flipped.keras").write_bytes(flipped)
        try:
            found = load_model(tmp_path / "flipped.keras")[0].get_weights()
        except ValueError as error:
            assert "flipped.keras" in str(error)
            outcomes["refused"] += 1
        else:
            np.testing.assert_array_equal(found[0], weights[0])
            outcomes["the same"] += 1
    assert min(outcomes.values()) > 10


def test_member_that_cannot_be_inflated_is_damage(members, tmp_path):
    path = write(tmp_path / "net.keras", members, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("config.json").header_offset + 30 + len("config.json")
    with pytest.raises(zlib.error):  # else the case would be none
        zlib.decompress(b"\xff" * 16, -15)
    content[start : start + 16] = b"\xff" * 16
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.keras is damaged"):
        load_model(path)


@pytest.mark.slow
def test_file_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(members, tmp_path):
    path = tmp_path / "bomb.keras"
    zeros = bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, members[name])
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(80):  # 1.34 GB, in a file of 6 MB
                member.write(zeros)
    with pytest.raises(
        ValueError, match=r"has [\d.]+ [kM]B and would take 1\.3 GB of memory or more; 1\.1 GB are allow"
    ):
        load_model(path)


def test_compressed_arrays_inside_the_weights_are_counted(members, tmp_path):
    content = io.BytesIO()
    with h5py.File(content, "w") as weights:  # no chunk of it is written: 4 GB in some kB
        weights.create_dataset("layers/dense/vars/0", (1000, 1000, 1000), "float32", chunks=(1000, 1000, 1))
    path = write(tmp_path / "bomb.keras", {**members, "model.weights.h5": content.getvalue()})
    with pytest.raises(ValueError, match=r"would take 4\.0 GB .* give `max_gigabytes=4`"):
        load_model(path)


def test_configuration_cannot_ask_for_weights_that_the_file_cannot_hold(members, tmp_path):
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["units"] = 10**8
    path = write(tmp_path / "bomb.keras", {**members, "config.json": json.dumps(config)})
    with pytest.raises(ValueError, match=r"would take 1\.6 GB of memory or more; 1\.1 GB are allowed"):
        load_model(path)


def test_limit_can_be_raised_and_lowered(members, tmp_path):
    path = write(tmp_path / "net.keras", members)
    assert load_model(path, max_gigabytes=1)[0].name == "net"
    with pytest.raises(ValueError, match=r"0\.0 GB are allowed for it\. If you trust it, give `max_gigabytes=1`"):
        load_model(path, max_gigabytes=1e-6)


def test_weights_in_another_file_are_not_read(members, tmp_path):
    """HDF5 can link: a model file could carry the content of any file of its reader."""
    content = io.BytesIO()
    with h5py.File(content, "w") as weights:
        weights["layers/dense/vars"] = h5py.ExternalLink("/etc/passwd", "/")
    path = write(tmp_path / "net.keras", {**members, "model.weights.h5": content.getvalue()})
    with pytest.raises(ValueError, match=r"links from 'layers/dense' to another file, which is not read"):
        load_model(path)


def test_file_of_a_layer_is_no_model(members, tmp_path):
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}
    path = write(tmp_path / "net.keras", {**members, "config.json": json.dumps(layer)})
    with pytest.raises(ValueError, match=r"net\.keras holds a Dense, which is no model"):
        load_model(path)
