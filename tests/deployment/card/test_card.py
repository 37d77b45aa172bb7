"""The model card: what it says, and what it says where nothing is known."""

import dataclasses

import keras
import numpy as np
import pytest

from dirac_keras.deployment.card import CardFacts, accuracy_by_class, check_card, write_card
from dirac_keras.deployment.card.front_matter import front_matter
from dirac_keras.deployment.card.writing import card_text
from dirac_keras.deployment.public_name import public_name
from dirac_keras.errors import UserError

DATA = {
    "name": "cifar10",
    "image_shape": [8, 8, 3],
    "num_classes": 2,
    "class_names": ["cat", "dog | wolf"],
    "mean": [124.0, 117.0, 104.0],
    "std": [58.0, 57.0, 57.0],
    "resize": 16,
    "num_train": 100,
    "num_test": 20,
}
REPORT = {
    "path": "/somewhere/net.onnx",
    "format": "onnx",
    "precision": "int8",
    "size_bytes": 1_500_000,
    "notes": ["N."],
}
REPORT |= {"max_abs_difference": 0.0123, "signatures": {}, "runtime": "onnxruntime 1.32.0"}
REPORT |= {"compared": {"images": 64, "real": True, "sqnr_db": 36.25, "agreement": 0.995}, "gate": None}
REPORT |= {"quantization": {"kept": ["conv1"], "chosen": {"cures": ["equalize_weights", "follow"]}}}
EVALUATION = {
    "data": "cifar10",
    "split": "test",
    "images": 20,
    "accuracy": 0.75,
    "loss": 0.5,
    "by_class": [
        {"class": "cat", "images": 10, "accuracy": 0.9, "taken_for": "dog | wolf"},
        {"class": "dog | wolf", "images": 10, "accuracy": 0.6, "taken_for": "cat"},
    ],
}
FACTS = CardFacts("my-run", {"family": "diracnet", "depth": 28, "recipe": "quick"}, None, EVALUATION, license="mit")


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])


def test_path_of_the_data_stays_at_home(model):
    """The folder's own name is told, not where it lies: a hub shows the card."""
    facts = dataclasses.replace(FACTS, evaluation={**EVALUATION, "data": public_name("folder:/home/ada/photos")})
    text = card_text(facts, model, {"data": {**DATA, "name": "folder:/home/ada/photos"}}, REPORT)
    assert "ada" not in text
    assert "- data set: folder:photos" in text and "- data, folder:photos: not known here" in text


def front_of(text):
    yaml = pytest.importorskip("yaml")
    first, matter, _ = text.split("---\n", 2)
    assert first == ""
    return yaml.safe_load(matter)


def test_front_matter_is_what_hubs_read(model):
    matter = front_of(card_text(FACTS, model, {"data": DATA}, REPORT))
    assert matter["license"] == "mit" and matter["library_name"] == "keras"
    assert {"image-classification", "dirac-keras", "onnx", "int8"} <= set(matter["tags"])
    assert matter["datasets"] == ["uoft-cs/cifar10"] and matter["metrics"] == ["accuracy"]
    (entry,) = matter["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "my-run" and result["dataset"]["split"] == "test"
    (metric,) = result["metrics"]
    assert (metric["type"], metric["value"]) == ("accuracy", 0.75)


def test_front_matter_of_any_values_reads_back():
    yaml = pytest.importorskip("yaml")
    values = {"a": 'quotes " and: colons #', "b": [1, "x", {"c": [{"d": 2.5, "e": []}], "f": "é"}], "g": {"h": True}}
    assert yaml.safe_load(front_matter(values).split("---")[1]) == values


def test_card_says_what_was_measured(model):
    text = card_text(FACTS, model, {"data": DATA}, REPORT)
    assert "| cat | 10 | 90.0% | dog \\| wolf |" in text and "75.00% of 20 images" in text
    assert "weakest class is dog | wolf: 60.0%" in text
    assert "386 weights" in text and "int8, 1.50 MB" in text  # 192 * 2 + 2
    assert (
        "0.0123" in text and "36.2 dB" in text and "same class for 99.50%" in text and "64 of the given images" in text
    )
    assert "layers kept in float: conv1" in text and "rounded with: equalize_weights, follow" in text
    assert "uint8 `(batch, 8, 8, 3)`" in text and "shorter side to 16 pixels" in text
    assert "- depth: 28" in text and "- data, cifar10: its authors state no licence" in text and "- N." in text


def test_accuracy_of_integers_is_said_to_be_that_before_them(model):
    for precision, name in (("int8", "Accuracy before quantization"), ("float16", "Accuracy")):
        matter = front_of(card_text(FACTS, model, {"data": DATA}, REPORT | {"precision": precision}))
        assert matter["model-index"][0]["results"][0]["metrics"][0]["name"] == name


def test_card_has_the_batch_that_the_artefact_takes(model):
    for batch, said in (("None", "`(batch, 8, 8, 3)`"), ("4", "`(4, 8, 8, 3)`")):
        served = {"inputs": {"images": f"uint8 ({batch}, 8, 8, 3)"}, "outputs": {"logits": f"float32 ({batch}, 2)"}}
        text = card_text(FACTS, model, {"data": DATA}, REPORT | {"signatures": {"serve": served}})
        assert said in text and ("It takes 4 images at once, no other number." in text) == (batch == "4")
        assert f'np.zeros(({"4" if batch == "4" else "1"}, 8, 8, 3), "uint8")' in text


def test_card_of_a_network_that_is_no_classifier_does_not_call_it_one(model):
    served = {"inputs": {"numbers": "float32 (None, 4)", "ids": "int32 (None, 2)"}, "outputs": {"sum": "float32 (2,)"}}
    text = card_text(CardFacts(), model, {}, REPORT | {"signatures": {"serve": served}})
    assert "A network: 386 weights" in text and "names one of its classes" not in text
    assert '{"numbers": numbers, "ids": ids}' in text and "image-classification" not in text


def test_notes_of_the_export_are_among_the_limits(model):
    note = "100 images are few to calibrate on; 512 are usual"
    text = card_text(FACTS, model, {"data": DATA}, REPORT | {"notes": [note, "equalize_weights: no pairs"]})
    assert f"- {note}." in text and "- equalize_weights: no pairs." in text


def test_seconds_are_said_to_be_those_of_the_steps_alone(model):
    """The log's are those of an epoch with its evaluation."""
    text = card_text(dataclasses.replace(FACTS, summary={"train_seconds": 9.98}), model, {"data": DATA}, REPORT)
    assert "- time: 10 s in the training steps, without the evaluation after each epoch" in text


def test_card_says_what_is_not_known(model):
    text = card_text(CardFacts(why_not_evaluated="the data are absent."), model, {}, {"format": "onnx"})
    for said in (
        "By class it is not known: the data are absent.",
        "does not say what it was trained on",
        "The recipe is not known",
        "was not compared",
        "Not measured. `dirac-keras benchmark` measures it.",
        "weights: not stated",
    ):
        assert said in text
    assert "model-index" not in front_of(text) and front_of(text)["license"] == "unknown"


def test_card_has_the_latencies_of_a_benchmark(model):
    row = {"format": "onnx", "form": None, "precision": "int8", "size_bytes": 2e6, "accuracy": 0.9}
    row["latency"] = {"1": {"median_ms": 1.234}, "32": {"median_ms": 20.0}}
    benchmark = {"rows": [row], "batches": [1, 32], "threads": 2, "images": 100, "data": "cifar10", "machine": "M"}
    text = card_text(dataclasses.replace(FACTS, benchmark=benchmark), model, {"data": DATA}, REPORT)
    assert "| onnx int8 | 2.00 | 1.23 | 20 | 90.00% |" in text and "2 threads; 100 test images" in text


def test_card_is_beside_a_file_and_inside_a_folder(model, tmp_path):
    (tmp_path / "net.onnx").touch()
    (tmp_path / "saved").mkdir()
    assert write_card(tmp_path / "net.onnx", FACTS, model, {"data": DATA}, REPORT) == tmp_path / "net.onnx.md"
    assert write_card(tmp_path / "saved", FACTS, model, {"data": DATA}, REPORT) == tmp_path / "saved" / "README.md"
    check_card(tmp_path / "net.onnx.md")  # one of ours may be replaced
    with pytest.raises(UserError, match=r"net\.onnx\.md exists; give another `path`"):
        check_card(tmp_path / "net.onnx.md", overwrite=False)


def test_artefacts_of_one_stem_have_a_card_each(model, tmp_path):
    for name in ("net.onnx", "net.tflite"):
        (tmp_path / name).touch()
        write_card(tmp_path / name, FACTS, model, {"data": DATA}, REPORT | {"path": name})
    cards = {path.name: path.read_text() for path in tmp_path.glob("*.md")}
    assert sorted(cards) == ["net.onnx.md", "net.tflite.md"]
    assert 'InferenceSession("net.onnx")' in cards["net.onnx.md"] and '"net.tflite"' in cards["net.tflite.md"]


def test_card_of_a_hub_folder_opens_the_file_in_it(model, tmp_path):
    (tmp_path / "model.tflite").touch()
    report = REPORT | {"format": "litert", "path": str(tmp_path)}
    card = write_card(tmp_path, FACTS, model, {"data": DATA}, report)
    assert 'Interpreter("model.tflite")' in card.read_text()


@pytest.mark.parametrize(("kind", "said"), [("int8", True), ("float32", False)])
def test_integer_outputs_are_explained_where_there_are_some(kind, said, model):
    signatures = {"serve": {"inputs": {"images": "uint8 (None, 8, 8, 3)"}, "outputs": {"logits": f"{kind} (None, 2)"}}}
    text = card_text(FACTS, model, {"data": DATA}, REPORT | {"format": "litert", "signatures": signatures})
    assert ("The logits are integers: `(value - zero_point) * scale`" in text) is said


def test_file_of_somebody_is_not_replaced_by_a_card(tmp_path):
    (tmp_path / "net.md").write_text("my notes")
    with pytest.raises(UserError, match=r"net\.md, where the model card goes, was not written by an export"):
        check_card(tmp_path / "net.md")
    check_card(tmp_path / "absent.md")


def test_accuracy_by_class_counts_each_class():
    """A model that gives its pixels as logits, on images that name the class it is to choose."""
    from pipelines.datasets import load_splits

    splits = load_splits("digits", max_test=40, eval_batch_size=16)
    inputs = keras.Input((8, 8, 1))
    constant = keras.layers.Rescaling(0.0, offset=np.eye(10)[4])  # always class 4
    model = keras.Model(inputs, constant(keras.layers.Dense(10)(keras.layers.Flatten()(inputs))))
    labels = np.concatenate([labels for _, labels in splits.test()])
    found = accuracy_by_class(model, splits.spec.to_dict(), splits, outputs="logits")
    assert found["images"] == 40 and found["accuracy"] == pytest.approx(np.mean(labels == 4))
    assert [row["images"] for row in found["by_class"]] == np.bincount(labels, minlength=10).tolist()
    assert [row["accuracy"] for row in found["by_class"]] == [float(index == 4) for index in range(10)]
    assert [row["taken_for"] for row in found["by_class"]] == [None if index == 4 else "4" for index in range(10)]
