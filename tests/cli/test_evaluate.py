"""The command `evaluate` with a report."""

import json

import keras
import pytest

from dirac_keras.files.keras_file import save_model
from pipelines import load_splits
from tests.cli.entry import runner_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of two networks for digits, and of one for other classes."""
    folder = tmp_path_factory.mktemp("evaluate")
    data = load_splits("digits", max_train=64).spec.to_dict()
    for seed, name in enumerate(("one", "two", "letters")):
        keras.utils.set_random_seed(seed)
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        names = {"class_names": list("abcdefghij")} if name == "letters" else {}
        save_model(keras.Sequential(layers), folder / f"{name}.keras", {"data": {**data, **names}})
    return folder


@pytest.fixture
def command(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    run = runner_of("evaluate", monkeypatch, capsys)

    def on_one_line(*arguments):
        status, out, err = run(*arguments)
        return status, out, " ".join(err.split())

    return on_one_line


@pytest.mark.slow
def test_report_and_json_are_written_and_say_the_same(command, folder):
    options = ("--compare", "two.keras", "--corruptions", "contrast,fog", "--corruption-images", "10")
    status, out, err = command("one.keras", "--max-images", "50", "--report", "r.html", "--json", "r.json", *options)
    assert status == 0, err
    record = json.loads((folder / "r.json").read_text())
    assert record["images"] == 50
    assert record["corruptions"]["images"] == 10
    assert record["comparison"]["model"] == "two.keras"
    assert f"accuracy {record['accuracy']:.4f}" in out
    assert "written: r.html" in out and "McNemar" in out
    assert f"{100 * record['accuracy']:.1f} % of 50 images" in (folder / "r.html").read_text(encoding="utf-8")


def test_json_alone_prints_the_figures_as_ever_and_with_a_comparison_all(command):
    figures = json.loads(command("one.keras", "--max-images", "20", "--json")[1])
    assert set(figures) - {"absent_classes"} == {"data", "split", "images", "loss", "accuracy", "top5"}
    record = json.loads(command("one.keras", "--max-images", "20", "--json", "--compare", "two.keras")[1])
    assert record.get("absent_classes") == figures.pop("absent_classes", None)
    assert {name: record[name] for name in figures} == pytest.approx(figures)
    assert record["comparison"]["both"] >= 0


@pytest.mark.slow
def test_a_file_that_exists_is_replaced_where_it_is_a_report_and_asked_for(command, folder):
    (folder / "mine.html").write_text("<p>mine</p>")
    (folder / "mine.json").write_text('{"mine": 1}')
    run = ("one.keras", "--max-images", "10")
    assert command(*run, "--report", "again.html", "--json", "again.json")[0] == 0
    before = (folder / "again.html").read_bytes()
    status, _, err = command(*run, "--report", "again.html")
    assert status == 1 and "--report: again.html exists. Give another file, or --overwrite to replace it" in err
    status, _, err = command(*run, "--report", "new.html", "--json", "again.json")
    assert status == 1 and "--json: again.json exists" in err and not (folder / "new.html").exists()
    assert (folder / "again.html").read_bytes() == before
    assert command(*run, "--report", "again.html", "--json", "again.json", "--overwrite")[0] == 0
    for option, name in (("--report", "mine.html"), ("--json", "mine.json")):
        status, _, err = command(*run, option, name, "--overwrite")
        assert status == 1 and "so it is not replaced" in err, err
    assert (folder / "mine.html").read_text() == "<p>mine</p>"


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """A run with 60 validation images."""
    from dirac_keras.training import TrainConfig, train

    config = TrainConfig(data="digits", family="plainnet", recipe="plainnet", depth=1, units=8, epochs=1, seed=3,
                         batch_size=64, max_train=256, max_test=64, validation=60, precision="float32")  # fmt: skip
    return train(config, load_splits(**config.data_arguments()), tmp_path_factory.mktemp("held_out"))


@pytest.mark.slow
def test_validation_is_what_the_run_has_held_out(command, held_out, tmp_path):
    run = held_out.run.path
    for options in ((), ("--report", tmp_path / "r.html")):
        figures = json.loads(command(run, "--split", "validation", *options, "--json")[1])
        assert (figures["split"], figures["images"]) == ("validation", 60)
        assert figures["accuracy"] == pytest.approx(held_out.history[-1]["val_accuracy"], abs=1e-6)
    said = "include those that the run has held out"
    assert said in command(run, "--split", "train")[1]
    assert said not in command(run)[1]
    status, _, err = command(run, "--split", "validation", "--max-images", "5")
    assert status == 1 and "--max-images is for test and training images" in err
    status, _, err = command("one.keras", "--split", "validation")
    assert status == 1 and "--split: digits has no validation images of its own" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--report", "r.pdf"), "--report must end in .html. Received r.pdf"),
        (("--report", "one.keras/r.html"), "cannot be written"),
        (("--corruptions", "frost"), "--corruptions: frost is left out"),
        (("--corruptions", "saturate"), "--corruptions: saturate needs images in colour"),
        (("--corruptions", "smog"), "--corruptions must be all, or of gaussian_noise"),
        (("--compare", "letters.keras"), "--compare: the classes of letters.keras are not those of one.keras"),
        (("--compare", "absent.keras"), "absent.keras does not exist"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(options, message, command, folder):
    before = sorted(path.name for path in folder.iterdir())
    status, _, err = command("one.keras", "--max-images", "10", *options)
    assert status == 1 and message in err and "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir()) == before
