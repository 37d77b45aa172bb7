"""The facts of a card, from a run's folder and its data; the card and the hub's folder that `export` writes."""

import logging
import types

import numpy as np
import pytest

from dirac_keras.cli.card import CardOptions
from dirac_keras.deployment.card import load_hub_folder
from dirac_keras.deployment.runtimes import open_artefact
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import load_model, save_model
from tests.cli.entry import status_of
from tests.run_checks import run

OPTIONS = CardOptions(with_card=True, hub=False, license="mit", benchmark=None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: `path`, `model`, `metadata`."""
    path = tmp_path_factory.mktemp("card") / "my-run"
    run(path)
    model, metadata = load_model(path, compiled=False)
    return types.SimpleNamespace(path=path, model=model, metadata=metadata)


def test_run_tells_its_recipe_and_is_evaluated_on_its_own_test_images(finished):
    facts = OPTIONS.facts(finished.path, finished.model, finished.metadata)
    assert facts.name == "my-run" and facts.license == "mit" and facts.config["units"] == 16
    assert facts.evaluation["images"] == 100  # `max_test` of the run
    assert facts.evaluation["accuracy"] == pytest.approx(facts.summary["test_accuracy"])
    assert sum(row["images"] for row in facts.evaluation["by_class"]) == 100


def test_model_file_of_a_run_finds_the_run_it_lies_in(finished, tmp_path):
    facts = OPTIONS.facts(finished.path / "model.keras", finished.model, finished.metadata)
    assert facts.config["units"] == 16 and facts.name == "model"
    elsewhere = save_model(finished.model, tmp_path / "copy.keras", finished.metadata)
    assert OPTIONS.facts(elsewhere, finished.model, finished.metadata).config is None


def test_card_without_data_says_why(finished, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "dirac_keras"):
        nothing = OPTIONS.facts(tmp_path / "net.keras", finished.model, {})
    assert nothing.evaluation is None and "does not say what it was trained on" in nothing.why_not_evaluated
    assert "accuracy by class is left out" in caplog.text
    absent = CardOptions(True, False, None, None, data_dir=str(tmp_path))
    data = finished.metadata["data"] | {"name": "cifar10"}
    why = absent.facts(tmp_path / "net.keras", finished.model, {"data": data}).why_not_evaluated
    assert "cifar10" in why and "`" not in why


def test_no_card_means_no_facts(finished):
    assert CardOptions(False, False, None, None).facts(finished.path, finished.model, finished.metadata) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", None])
def test_record_of_no_benchmark_is_refused(text, finished, tmp_path):
    path = tmp_path / "benchmark.json"
    if text is not None:
        path.write_text(text)
    options = CardOptions(True, False, None, str(path))
    with pytest.raises(UserError, match=r"benchmark\.json is no record of dirac-keras benchmark"):
        options.facts(finished.path, finished.model, finished.metadata)


@pytest.mark.slow
def test_hub_folder_serves_and_is_rebuilt_with_the_same_outputs(finished, tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    pytest.importorskip("safetensors")
    folder = tmp_path / "hub"
    status = status_of(
        ["export", finished.path, "--format=openvino", "--hub", f"--output={folder}", "--license=mit"], monkeypatch
    )
    assert status == 0, capsys.readouterr().err
    text = (folder / "README.md").read_text()
    assert text.startswith('---\nlicense: "mit"\n') and "| 0 | " in text and "- units: 16" in text
    model, config = load_hub_folder(folder)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    cfg = config["pretrained_cfg"]
    fed = (images / np.float32(255) - np.float32(cfg["mean"])) / np.float32(cfg["std"])  # as timm's loaders do
    logits = open_artefact(folder).run(images)["logits"]
    # Another runtime, and a division by 255 that rounds: some units of 1e-7 of a logit for each layer.
    np.testing.assert_allclose(np.asarray(model(fed)), logits, atol=1e-4)
