import itertools
import json
import logging
import shutil
import signal
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest

from dirac_keras.cli import reading, train
from dirac_keras.cli.options import read_config
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import load_model, save_model
from tests.cli.entry import status_of
from tests.run_checks import run

RUN = ("train", "--data", "digits", "--depth", "10", "--width", "0.5", "--epochs", "1", "--max-train", "512")


def call(*arguments, monkeypatch, capsys):
    """Exit status, standard output and standard error of the entry point."""
    status = status_of(arguments, monkeypatch)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def command(monkeypatch, capsys):
    return lambda *arguments: call(*arguments, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run with its folded model and its SavedModel."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    process = subprocess.run(
        [sys.executable, "-m", "dirac_keras.cli", *RUN, "--workdir", str(folder)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return folder


def test_train_folds_exports_and_compares(workdir):
    assert {"model.keras", "folded.keras", "saved_model", "metrics.csv", "deployment.json"} <= {
        p.name for p in workdir.iterdir()
    }
    record = json.loads((workdir / "deployment.json").read_text())
    assert record["test_images"]["max_abs_difference"] <= 1e-4  # float32, logits of order 1
    assert record["test_images"]["argmax_agreement"] == 1.0
    assert record["export"]["max_abs_difference"] <= 1e-4


def test_training_again_reads_the_finished_run(workdir, command, caplog):
    with caplog.at_level(logging.INFO, "dirac_keras"):
        status, _, _ = command(*RUN, "--workdir", workdir, "--no-export")
    assert status == 0 and "nothing to train" in caplog.text


def test_evaluate_gives_the_accuracy_of_the_run(workdir, command):
    status, out, _ = command("evaluate", workdir, "--data", "digits", "--json")
    summary = json.loads((workdir / "summary.json").read_text())
    figures = json.loads(out)
    assert status == 0 and figures["images"] == 359
    assert abs(figures["accuracy"] - summary["test_accuracy"]) < 0.006  # bfloat16: two images may change sides


@pytest.mark.slow
def test_evaluate_says_what_its_loss_has_not(workdir, run_with_max_test, command):
    """`quick` smooths the labels, `plainnet` does not, and without smoothing both losses are the same."""
    note = "loss is the cross-entropy; loss, val_loss and test_loss of the run include label smoothing of 0.05"
    assert command("evaluate", workdir)[1].splitlines()[-1] == note
    assert "include" not in command("evaluate", run_with_max_test)[1]
    figures = json.loads(command("evaluate", run_with_max_test, "--json")[1])
    summary = json.loads((run_with_max_test / "summary.json").read_text())
    assert figures["loss"] == pytest.approx(summary["test_loss"], rel=1e-5)


@pytest.mark.slow
def test_evaluate_splits_the_data_as_the_training_did(workdir, tmp_path, command, monkeypatch):
    """Where the authors give no test part the seed draws it; another one would test on training images."""
    import pipelines

    seeds = []
    network, metadata = load_model(workdir)
    save_model(network, tmp_path / "m.keras", {**metadata, "seed": 7})
    real = pipelines.load_splits
    monkeypatch.setattr(pipelines, "load_splits", lambda *a, **k: seeds.append(k["seed"]) or real(*a, **k))
    assert command("evaluate", tmp_path / "m.keras")[0] == 0
    assert command("evaluate", workdir / "folded.keras")[0] == 0
    assert seeds == [7, 0]


@pytest.fixture(scope="module")
def run_with_max_test(tmp_path_factory):
    """A finished run on 100 of the 359 test images, in float32."""
    return run(tmp_path_factory.mktemp("max_test") / "run", epochs=1).run.path


@pytest.mark.slow
def test_evaluate_of_a_run_with_max_test_gives_the_accuracy_of_the_run(run_with_max_test, command):
    summary = json.loads((run_with_max_test / "summary.json").read_text())
    for data in ((), ("--data", "digits")):
        status, out, _ = command("evaluate", run_with_max_test, *data, "--json")
        figures = json.loads(out)
        assert status == 0 and figures["images"] == 100
        assert figures["accuracy"] == pytest.approx(summary["test_accuracy"], abs=1e-6)  # a mean in float32
    assert "images 100" in command("evaluate", run_with_max_test)[1]


@pytest.mark.slow
def test_max_images_wins_over_the_max_test_of_the_run(run_with_max_test, command):
    for options, images in (
        (("--max-images", "30"), 30),
        (("--max-images", "200"), 200),
        (("--max-images", "1000"), 359),  # all there are
        (("--split", "train"), 1438),
        (("--split", "train", "--max-images", "30"), 30),
    ):
        assert json.loads(command("evaluate", run_with_max_test, *options, "--json")[1])["images"] == images


@pytest.mark.slow
def test_max_test_of_a_run_holds_for_its_folder_and_its_data_alone(run_with_max_test, tmp_path, command):
    from PIL import Image

    for part, count in (("train", 1), ("test", 11)):
        for name, k in itertools.product(range(10), range(count)):
            path = tmp_path / "photos" / part / str(name) / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(path)
    others = ("evaluate", run_with_max_test, "--data", f"folder:{tmp_path / 'photos'}", "--json")
    assert json.loads(command(*others)[1])["images"] == 110
    assert json.loads(command("evaluate", run_with_max_test / "model.keras", "--json")[1])["images"] == 359


def test_folded_model_has_the_accuracy_of_the_trained_one(workdir, command):
    _, trained, _ = command("evaluate", workdir, "--json")
    _, folded, _ = command("evaluate", workdir / "folded.keras", "--json")
    assert abs(json.loads(trained)["accuracy"] - json.loads(folded)["accuracy"]) < 0.006


def test_predict_names_the_digits_of_image_files(workdir, tmp_path, command):
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    paths = []
    for k in range(20):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(np.round(digits.images[k] * 255 / 16).astype("uint8")).save(paths[-1])
    status, out, _ = command("predict", workdir, *paths, "--json", "--top", "3")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(lines) == 20 and all(len(line["classes"]) == 3 for line in lines)
    for line in lines:
        assert 0 <= line["classes"][-1]["probability"] <= line["classes"][0]["probability"] <= 1


def test_fold_writes_a_plain_model(workdir, tmp_path, command):
    status, out, _ = command("fold", workdir, "--output", tmp_path / "plain.keras", "--precision", "float32")
    assert status == 0 and "plain.keras" in out
    layers = {type(layer).__name__ for layer in keras.models.load_model(tmp_path / "plain.keras").layers}
    assert layers <= {"InputLayer", "Conv2D", "ReLU", "MaxPooling2D", "GlobalAveragePooling2D", "Dense"}


@pytest.mark.slow
def test_export_writes_a_saved_model(workdir, tmp_path, command):
    status, out, _ = command("export", workdir, "--output", tmp_path / "served")
    assert status == 0 and "serving_bytes" in out
    assert (tmp_path / "served" / "saved_model.pb").exists()


@pytest.mark.slow
def test_info_lists_layers_with_their_costs(workdir, command):
    status, out, _ = command("info", workdir, "--json")
    layers = {layer["name"]: layer for layer in json.loads(out)["layers"]}
    assert status == 0
    assert layers["conv1"]["macs"] == 8 * 8 * 9 * 1 * 8 and layers["conv1"]["parameters"] == 72
    assert command("info", workdir)[0] == 0


@pytest.mark.slow
def test_diagnose_writes_what_it_measured(workdir, tmp_path, command):
    status, out, _ = command("diagnose", workdir, "--output", tmp_path, "--max-images", "200")
    assert status == 0 and "group3_block2_conv" in out and "effective rank" in out
    record = json.loads((tmp_path / "diagnostics.json").read_text())
    assert record["samples"] == 200 and record["data"] == "digits" and len(record["layers"]) == 8
    page = (tmp_path / "diagnostics.html").read_text()
    assert page.count("data:image/png;base64,") > 10 and 'src="http' not in page and "group3_block2_conv" in page


@pytest.mark.slow
def test_diagnose_judges_a_run_as_it_began(workdir, tmp_path, command):
    """The trained network has other numbers than the one it began as, whose filters still weigh what they did."""
    status, out, _ = command("diagnose", workdir, "--init", "--output", tmp_path)
    assert status == 0 and "verdict: will train" in out and "memory at most" in out
    record = json.loads((tmp_path / "diagnostics.json").read_text())
    assert record["at_start"] and record["samples"] == 512 and record["verdict"]["will_train"] is True
    assert [layer["scales"]["filter_scale_mean"] for layer in record["layers"] if layer["scales"]] == pytest.approx(
        [0.3] * 6
    )
    assert "Will train, as far as its start shows" in (tmp_path / "diagnostics.html").read_text()


def test_diagnose_says_what_is_wrong_and_what_helps(tmp_path, command):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    for k in range(3):
        x = keras.layers.Dense(16, "relu", kernel_initializer="zeros", name=f"dense{k}")(x)
    keras.Model(inputs, keras.layers.Dense(10)(x)).save(tmp_path / "ill.keras")
    status, out, _ = command("diagnose", tmp_path / "ill.keras", "--data", "digits", "--init")
    assert status == 0, "a bad verdict is no failure of the command"
    assert "verdict: will not train: silent" in out
    assert "layers dense0 to dense2 (3 of 3): every unit is 0 for every image" in out
    assert "Add BatchNormalization after each kernel, LeakyReLU(0.3) in place of ReLU" in out


@pytest.mark.slow
def test_training_diagnoses_on_request(tmp_path, command, caplog):
    with caplog.at_level(logging.INFO, "dirac_keras"):
        status, _, _ = command(*RUN, "--no-export", "--diagnose-every", "1", "--workdir", tmp_path / "run")
    assert status == 0 and list((tmp_path / "run" / "tb" / "diagnostics").glob("events*"))
    assert "diagnosis after epoch 0" in caplog.text and "will train" in caplog.text
    # Eight steps: the statistics of BatchNormalization are still near their start.
    assert "diagnosis after epoch 1" in caplog.text and "has learned nothing: chance" in caplog.text


@pytest.mark.slow
def test_diagnose_takes_a_model_of_the_user(tmp_path, command):
    """No metadata, an ordinary network: the data set has to be named, the rest works."""
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10, name="<b>")(keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(inputs)))
    keras.Model(inputs, outputs).save(tmp_path / "theirs.keras")
    assert command("diagnose", tmp_path / "theirs.keras")[0] == 1
    status, out, _ = command("diagnose", tmp_path / "theirs.keras", "--data", "digits", "--max-images", "50", "--json")
    assert status == 0 and json.loads(out)["layers"][-1]["name"] == "<b>"
    assert "<b>" not in (tmp_path / "theirs-diagnosis" / "diagnostics.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_training_with_its_status_and_one_line(number, status, tmp_path, command, caplog, monkeypatch):
    from dirac_keras.training.folder.checkpoints import Checkpoint

    real = Checkpoint.on_train_batch_end
    monkeypatch.setattr(Checkpoint, "on_train_batch_end", lambda *a, **k: signal.raise_signal(number) or real(*a, **k))
    small = ("--data", "digits", "--family", "plainnet", "--depth", "2", "--units", "16", "--max-train", "512")
    ended, _, err = command("train", *small, "--epochs", "1", "--no-export", "--workdir", tmp_path / "run")
    assert ended == status and "Traceback" not in err
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [f"interrupted by {number.name} after step 1 of 4, which is saved: train again to resume from there"]


@pytest.mark.parametrize("name", ["train", "evaluate", "diagnose", "predict", "fold", "export", "info", "reproduce"])
def test_help_has_an_example(name, command):
    status, out, _ = command(name, "--help")
    assert status == 0 and f"dirac-keras {name} " in out


def test_flags_win_over_the_file_and_the_file_over_the_recipe(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("epochs = 7\ndepth = 16\n")
    config = read_config(path, {"depth": 10, "width": None})
    assert (config.epochs, config.depth, config.batch_size) == (7, 10, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "--depth", "12"),
            "depth must be 6 N + 4 for layout='cifar'. Received depth=12; the nearest are 10 and 16",
        ),
        (("train", "--depth", "10", "--width", "-1"), "width must be above 0. Received width=-1"),
        (
            ("train", "--recipe", "slow"),
            "fast. Received recipe='slow'",
        ),
        (("train", "--data", "digit"), "digit"),
        (("train", "--config", "absent.toml"), "absent.toml cannot be read"),
        (("evaluate", "absent.keras"), "absent.keras does not exist"),
        (("train", "--width", "inf"), "width must be finite and above 0. Received width=inf"),
        (("train", "--validation", "inf"), "validation must be finite and 0 or more. Received validation=inf"),
        (("train", "--seed", str(2**32)), "seed must be 0 or more and below 2**32"),
        (("train", "--kernel-initializer", "he"), "kernel_initializer must be a Keras initializer or its name"),
        (("train", "--data", "folder:"), "folder: needs a path"),
        (("fold", "notes.keras", "--output", "plain.h5"), "--output must end in .keras. Received plain.h5"),
        (("fold", "notes.keras"), "notes.keras"),
        (("info", "notes.keras"), "notes.keras"),
    ],
)
def test_bad_input_gets_one_line_and_a_failing_status(arguments, message, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.keras").write_text("no model")
    status, out, err = command(*arguments)
    text = " ".join(err.split())
    assert status == 1 and message in text and "Traceback" not in out + err
    assert text.count("Error:") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.keras"], "something was left behind"


@pytest.mark.slow
def test_command_that_succeeds_is_silent_on_standard_error(workdir):
    arguments = [sys.executable, "-m", "dirac_keras.cli", "info", str(workdir)]
    process = subprocess.run(arguments, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


def test_existing_output_is_refused(workdir, command):
    status, _, err = command("fold", workdir, "--output", workdir / "folded.keras")
    assert status == 1 and "exists" in err


@pytest.mark.slow
def test_file_that_is_no_image_is_named(workdir, tmp_path, command):
    (tmp_path / "letter.png").write_text("Dear Sir")
    status, _, err = command("predict", workdir, tmp_path / "letter.png")
    assert status == 1 and "letter.png is no JPEG" in " ".join(err.split())


@pytest.mark.slow
def test_image_that_is_damaged_between_whole_ends_is_found_before_it_is_used(tmp_path, command, monkeypatch):
    """Files of a folder too large for memory are decoded as they are used, and once before."""
    from PIL import Image

    from pipelines import scaling

    for part, name in itertools.product(("train", "test"), ("cat", "dog")):
        path = tmp_path / "photos" / part / name / "0.jpg"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(path)
    damaged = path.read_bytes()
    path.write_bytes(damaged[: len(damaged) // 2] + b"\xff\xd9")  # cut, and ended as a JPEG is
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs))).save(tmp_path / "m.keras")
    monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    status, out, err = command("evaluate", tmp_path / "m.keras", "--data", f"folder:{tmp_path / 'photos'}")
    text = " ".join(err.split())
    assert status == 1 and "Traceback" not in out + err
    assert f"1 of 2 image files cannot be decoded: {path} (damaged or cut short). Repair or remove them" in text
    assert text.endswith("--on-broken skip.")


@pytest.mark.slow
def test_evaluation_of_a_run_treats_broken_images_as_its_training_did(workdir, command, monkeypatch, tmp_path):
    from dirac_keras.cli import evaluate

    shutil.copytree(workdir, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    text = config.read_text()
    assert '"on_broken": "fail"' in text
    config.write_text(text.replace('"on_broken": "fail"', '"on_broken": "skip"'))
    taken = []

    def splits(*arguments, on_broken, **options):
        taken.append(on_broken)
        raise UserError("enough")

    monkeypatch.setattr(evaluate, "splits_of_model", splits)
    for options in ([], ["--on-broken", "fail"], ["--data", "mnist"]):
        command("evaluate", tmp_path / "run", *options)
    assert taken == ["skip", "fail", "fail"]


def test_other_failure_of_tensorflow_is_not_put_down_to_an_image(command, monkeypatch, tmp_path):
    import tensorflow as tf

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(reading, "load_model", lambda path, **options: tf.reshape(tf.zeros(3), (2,)))
    status, _, err = command("info", "x.keras")
    assert status == 70 and "InvalidArgumentError" in err and "the requested shape has 2" in err
    assert "an image cannot be decoded" not in err


@pytest.fixture
def odd_models(tmp_path):
    """Models that are no built classifiers of images."""
    first, second = keras.Input((4,)), keras.Input((4,))
    keras.Model([first, second], keras.layers.Add()([first, second])).save(tmp_path / "two.keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "vectors.keras")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "unbuilt.keras")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two", "has 2 inputs"),
        ("vectors", "must take (batch, height, width, channels) images"),
        ("unbuilt", "is not built"),
    ],
)
def test_evaluate_refuses_what_is_no_classifier_of_images(name, message, odd_models, command):
    status, _, err = command("evaluate", odd_models / f"{name}.keras", "--data", "digits")
    assert status == 1 and message in " ".join(err.split())


@pytest.mark.parametrize("name", ["info", "fold", "export"])
def test_model_that_is_not_built_gets_one_line(name, odd_models, command):
    status, _, err = command(name, odd_models / "unbuilt.keras")
    assert status == 1 and "built" in err and "Traceback" not in err


def test_brackets_in_a_path_are_no_markup(workdir, tmp_path, command):
    """Rich reads [/x] as a closing tag, and [red] as a colour."""
    path = tmp_path / "[red]a" / "[" / "x].keras"
    status, out, _ = command("fold", workdir, "--output", path)
    assert status == 0 and str(path) in out
    status, _, err = command("info", tmp_path / "[/x].keras")
    assert status == 1 and "[/x].keras" in err


@pytest.mark.slow
def test_exports_of_two_files_in_one_folder_do_not_meet(workdir, tmp_path, command):
    for name in ("one", "two"):
        shutil.copy(workdir / "model.keras", tmp_path / f"{name}.keras")
        assert command("export", tmp_path / f"{name}.keras")[0] == 0
    assert (tmp_path / "one-saved_model").is_dir() and (tmp_path / "two-saved_model").is_dir()
    status, _, err = command("export", tmp_path / "one.keras")
    assert status == 1 and "--overwrite" in err


def test_every_flag_of_train_is_in_a_group(command):
    _, out, _ = command("train", "--help")
    assert all(f"─ {group} ─" in out for group in ("Run", "Data", "Model", "Training"))
    assert "─ Options ─" not in out


def test_interrupt_says_what_can_be_done(monkeypatch, command):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "load_model", stop)
    status, _, err = command("info", "x.keras")
    assert status == 130 and "interrupted." in err and "checkpoint" not in err
    monkeypatch.setattr(train, "read_config", stop)
    status, _, err = command("train")
    assert status == 130 and "resume from the last checkpoint" in err


def test_unknown_flag_is_refused(command):
    assert command("train", "--dept", "10")[0] == 2
