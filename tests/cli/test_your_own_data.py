"""A table of images from its file to predictions and an export, on the command line."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.entry import status_of

MARKUP = "<img src=x onerror=alert(1)>"
SMALL = ["--family", "plainnet", "--recipe", "plainnet", "--depth", "2", "--units", "8", "--batch-size", "16",
         "--epochs", "3", "--learning-rate", "0.02", "--precision", "float32", "--augmentation", "none"]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV of 60 grey images: bright at the top, on the right, both or neither."""
    folder = tmp_path_factory.mktemp("table")
    generator, rows = np.random.default_rng(0), [("photo", "what is there", "brightness")]
    for k in range(60):
        image = generator.integers(0, 60, (8, 8), dtype=np.uint8)
        image[:3] += np.uint8(150 * (k % 2))
        image[:, 5:] += np.uint8(40 * (k // 2 % 2))
        Image.fromarray(image).save(folder / f"{k:02}.png")
        labels = [name for name, given in (("top", k % 2), (MARKUP, k // 2 % 2)) if given]
        rows.append((f"{k:02}.png", "|".join(labels), f"{image.mean():.2f}"))
    with open(folder / "photos.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "photos.csv"


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "labels"
    with pytest.MonkeyPatch.context() as patch:
        columns = ["--columns", "image=photo,label=what is there", "--channels", "1"]
        assert status_of(["train", "--data", f"csv:{table}", *columns, *SMALL, "--workdir", folder], patch) == 0
    return folder


@pytest.mark.slow
def test_a_run_on_a_table_has_its_labels_its_export_and_its_figures(run):
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["test_mean_average_precision"] <= 1 and "test_accuracy" not in summary
    data = json.loads((run / "config.json").read_text())["data_spec"]
    assert data["class_names"] == [MARKUP, "top"] and data["columns"]["label"] == ["what is there"]
    deployed = json.loads((run / "deployment.json").read_text())
    assert deployed["test_images"]["label_agreement"] == 1.0
    if deployed["export"] is not None:  # without TensorFlow there is none
        assert "probabilities" in deployed["export"]["signatures"]["serving_default"]["outputs"]


@pytest.mark.slow
def test_predict_gives_each_label_its_own_probability(run, table, monkeypatch, capsys):
    assert status_of(["predict", run, table.parent / "03.png", "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)["labels"]
    assert {row["label"] for row in found} == {MARKUP, "top"}
    assert all(row["given"] == (row["probability"] > 0.5) for row in found)
    assert status_of(["predict", run / "folded.keras", table.parent / "03.png"], monkeypatch) == 0
    assert MARKUP in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_reads_the_columns_of_the_training_again(run, monkeypatch, capsys):
    assert status_of(["evaluate", run, "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((run / "summary.json").read_text())
    for name in ("f1_micro", "mean_average_precision", "exact_match"):
        assert found[name] == pytest.approx(summary[f"test_{name}"], abs=1e-6)


@pytest.mark.slow
def test_evaluate_is_told_the_columns_of_another_table(run, table, monkeypatch, capsys):
    other = table.parent / "others.csv"
    other.write_text(table.read_text().replace("photo,what is there", "datei,tags", 1))
    assert status_of(["evaluate", run, "--data", f"csv:{other}", "--json"], monkeypatch) == 1
    assert "columns names 'photo'" in capsys.readouterr().err
    told = ["--columns", "image=datei,label=tags", "--task", "labels"]
    assert status_of(["evaluate", run, "--data", f"csv:{other}", *told, "--json"], monkeypatch) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((run / "summary.json").read_text())
    assert found["mean_average_precision"] == pytest.approx(summary["test_mean_average_precision"], abs=1e-6)


def test_values_are_trained_and_predicted_in_their_own_units(table, tmp_path, monkeypatch, capsys):
    columns = ["--columns", "image=photo,label=brightness", "--channels", "1", "--no-export"]
    folder = tmp_path / "run"
    assert status_of(["train", "--data", f"csv:{table}", *columns, *SMALL, "--workdir", folder], monkeypatch) == 0
    assert "mae" in capsys.readouterr().out
    assert status_of(["predict", folder, table.parent / "00.png", "--json"], monkeypatch) == 0
    assert 0 < json.loads(capsys.readouterr().out)["values"]["brightness"] < 200


@pytest.mark.slow
def test_what_tables_and_tasks_have_not_is_one_error(table, run, tmp_path, monkeypatch, capsys):
    told = ["train", *SMALL, "--workdir", tmp_path / "run"]
    for arguments, message in (
        ([*told, "--data", f"csv:{table}"], "no column named like images"),
        ([*told, "--data", "digits", "--task", "labels"], "--task has an effect only on tables"),
        ([*told, "--data", f"csv:{table}", "--columns", "photo"], "--columns image=NAME"),
        (["diagnose", run, "--data", f"csv:{table}"], "diagnosis"),
        (["export", run, "--format", "onnx", "--max-accuracy-drop", "1"], "gives labels"),
    ):
        assert status_of(arguments, monkeypatch) == 1
        said = capsys.readouterr().err
        assert "Traceback" not in said and message in " ".join(said.split()), said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_benchmark_reads_the_columns_that_an_artefact_says(table, tmp_path):
    from dirac_keras.cli.benchmark import _TestImages

    path = tmp_path / "other.csv"
    rows = [("bild", "art"), *((str(table.parent / f"{k:02}.png"), "odd" if k % 2 else "even") for k in range(20))]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    images, labels, names = _TestImages(f"csv:{path}", {})((8, 8, 1), {"columns": {"image": "bild", "label": ["art"]}})
    assert images.shape == (4, 8, 8, 1) and sorted(labels) == [0, 0, 1, 1] and names == ("even", "odd")
