"""Files of tensors are read to the number, and nothing that they hold is run."""

import copy
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.weights.reading.state_dict import read_state_dict
from tests.weights import pickled

FILES = pathlib.Path(__file__).parent / "files"
ENDINGS = ["", "-legacy"]


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FILES / "expected.npz"))


@pytest.fixture
def file(tmp_path):
    """Writes bytes to a file and gives its path."""

    def write(data, name="file.pth"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def refused(path, match):
    with pytest.raises(UserError, match=match) as error:
        read_state_dict(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["plain", "checkpoint", "parallel"])
def test_state_dicts_of_pytorch(kind, ending, expected):
    found = read_state_dict(FILES / f"{kind}{ending}.pth")
    names = [name for name in expected if not name.startswith("odd:")]
    assert sorted(found.tensors) == sorted(names)
    for name in names:
        np.testing.assert_array_equal(found.tensors[name], expected[name])
    assert found.left_out == (("epoch", "arch", "optimizer") if kind == "checkpoint" else ())


@pytest.mark.parametrize("ending", ENDINGS)
def test_views_precisions_and_parameters_of_pytorch(ending, expected):
    found = read_state_dict(FILES / f"odd{ending}.pth").tensors
    assert len(found) == 9 and found["double"].dtype == "float64" and found["empty"].shape == (0, 3)
    for name, value in found.items():
        np.testing.assert_array_equal(value.astype("float32"), expected[f"odd:{name}"])


def test_a_file_without_pytorch_s_storages_in_order_is_read_as_well(file):
    value = pickled.mapping(w=pickled.tensor((2, 2), (1, 2)))
    data = np.arange(4, dtype="<f4").tobytes()
    for content in (pickled.archive(value, {"0": data}), pickled.legacy(value, data=data)):
        np.testing.assert_array_equal(read_state_dict(file(content)).tensors["w"], [[0, 2], [1, 3]])


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_is_refused_by_name(protocol, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = pickle.dumps({"w": Evil()}, protocol)
    refused(file(body), "wants to use (posix|nt).system")
    content = pickled.archive(b"}")
    zipped = file(content, "zip.pth")
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    refused(zipped, "wants to use (posix|nt).system")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "module, what",
    [
        ("builtins", "eval"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("argparse", "Namespace"),
        ("collections", "defaultdict"),
    ],
)
def test_names_beside_those_of_tensors_are_refused(module, what, file):
    value = pickled.mapping(w=pickled.tensor((4,), (1,)), x=pickled.call(pickled.name(module, what)))
    refused(file(pickled.archive(value)), f"wants to use {module}.{what}, which")


@pytest.mark.parametrize(
    "value, what",
    [
        (pickled.name("collections", "OrderedDict") + b")\x81", "NEWOBJ"),
        (b"(icollections\nOrderedDict\n", "INST"),
        (b"\x82\x01", "EXT1"),
    ],
)
def test_instructions_that_make_objects_are_refused(value, what, file):
    refused(file(pickled.archive(value)), f"makes objects \\({what}\\)")


def test_attributes_of_a_function_cannot_be_set(file):
    value = pickled.name("torch._utils", "_rebuild_tensor_v2") + b"}(" + pickled.text("__code__") + b"NubN"
    refused(file(pickled.archive(value)), "damaged: its pickle cannot be read")


def test_text_is_no_file_of_tensors(file):
    """The letters of `hello` are instructions: the first takes entry 101 of an empty memory."""
    refused(file(b"hello\n"), "damaged, or no file of tensors: .* takes entry 101 of its memory")


DAMAGED = {
    "larger than its storage": (pickled.tensor((5,), (1,)), "does not fit in its storage of 4 numbers"),
    "beyond its storage": (pickled.tensor((2, 2), (3, 1)), "does not fit"),
    "begins behind it": (pickled.tensor((1,), (1,), offset=4), "does not fit"),
    "huge by strides of 0": (pickled.tensor((10**6, 10**6), (0, 0)), "does not fit"),
    "negative": (pickled.tensor((-1,), (1,)), "has a tensor of shape"),
    "without strides": (pickled.tensor((2, 2), (1,)), "has strides"),
    "of another size than it says": (pickled.tensor((2,), (1,), count=5), "must have 5 numbers of 4 bytes"),
    "of no storage": (pickled.tensor((2,), (1,), key="7"), "lacks the storage 7"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_tensors_that_do_not_fit_their_storage(kind, file):
    value, match = DAMAGED[kind]
    refused(file(pickled.archive(pickled.mapping(w=value))), match)


def test_storages_of_old_files_that_end_too_early_or_lie(file):
    value = pickled.mapping(w=pickled.tensor((4,), (1,)))
    refused(file(pickled.legacy(value, data=bytes(15))), "cut off or damaged: the storage 0 has 4 numbers")
    refused(file(pickled.legacy(value, count=2**60)), "cut off or damaged")
    refused(file(pickled.legacy(value, count=-1)), "cut off or damaged")
    refused(file(pickled.legacy(value)[:-18]), "ends before the storage 0")
    refused(file(pickled.legacy(value, key="9")), "a storage 9 of no tensor")


@pytest.mark.parametrize("name", ["plain.pth", "plain-legacy.pth"])
def test_every_shortened_file_is_one_error(name, file):
    whole = (FILES / name).read_bytes()
    for length in range(0, len(whole) - 1, 97):
        with pytest.raises(UserError, match="path: "):
            read_state_dict(file(whole[:length]))


def test_compressed_and_overlapping_archives_are_refused(file):
    value = pickled.mapping(w=pickled.tensor((4,), (1,)))
    bomb = pickled.archive(value, {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**4
    refused(file(bomb), "is compressed, which no file of PyTorch is")
    path = file(pickled.archive(value, {"0": bytes(10**4)}))
    with zipfile.ZipFile(path, "a") as archive:
        whole = archive.getinfo("archive/data/0")
        for number in range(9):  # names for one and the same bytes
            other = copy.copy(whole)
            other.filename = f"archive/data/{number + 1}"
            archive.filelist.append(other)
        archive._didModify = True
    refused(path, "members are larger than the file")


def test_programs_and_other_archives_are_refused(file):
    refused(FILES / "script.pt", "is a program")
    path = file(b"", "other.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "text")
    refused(path, "not of PyTorch")


def test_no_file_and_files_of_other_kinds(tmp_path, file):
    refused(tmp_path / "absent.pth", "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory")
    refused(file(b"\x08\x01\x12\x02", "net.onnx"), "no file of tensors")
    refused(file(pickled.archive(pickled.mapping(epoch=pickled.number(3)))), "holds no state dict: its keys are epoch")
    refused(file(pickled.archive(pickled.text("w"))), "holds a str")


def test_a_dict_that_holds_itself_ends(file):
    value = b"}q\x01" + pickled.text("model") + b"h\x01s"
    refused(file(pickled.archive(value)), "no state dict in its first")


def test_weights_and_statistics_of_the_authors_checkpoint_are_one_state_dict(file):
    parts = {
        "params": pickled.mapping(w=pickled.tensor((4,), (1,))),
        "stats": pickled.mapping(m=pickled.tensor((2,), (1,))),
        "epoch": pickled.number(3),
    }
    found = read_state_dict(file(pickled.legacy(pickled.mapping(**parts))))
    assert {*found.tensors} == {"w", "m"} and found.left_out == ("epoch",)


def test_safetensors(tmp_path, file):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.float16([1.5]), "n": np.int64([3])}
    numpy.save_file(arrays, tmp_path / "net.safetensors")
    found = read_state_dict(tmp_path / "net.safetensors").tensors
    assert {*found} == {*arrays}
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
    whole = (tmp_path / "net.safetensors").read_bytes()
    refused(file(whole[:-1], "cut.safetensors"), "is damaged")
    refused(file(b"\xff" * 16, "bad.safetensors"), "is damaged")


def test_hdf5_of_keras_2(tmp_path, file):
    import h5py

    with h5py.File(tmp_path / "net.h5", "w") as stored:
        stored["layer/model/layer/kernel:0"] = np.arange(6, dtype="float32").reshape(2, 3)
    found = read_state_dict(tmp_path / "net.h5").tensors
    np.testing.assert_array_equal(found["layer/model/layer/kernel"], [[0, 1, 2], [3, 4, 5]])
    with h5py.File(tmp_path / "odd.h5", "w") as stored:
        stored["names"] = "text"
    refused(tmp_path / "odd.h5", "no plain numbers")
    refused(file((tmp_path / "net.h5").read_bytes()[:600], "cut.h5"), "is damaged")


def test_pytorch_reads_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    torch.save(state, tmp_path / "own.pth")
    found = read_state_dict(tmp_path / "own.pth").tensors
    loaded = torch.load(tmp_path / "own.pth", weights_only=True)
    assert {*found} == {*loaded}
    for name, value in loaded.items():
        np.testing.assert_array_equal(found[name], value.numpy())
