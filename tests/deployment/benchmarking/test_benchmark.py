"""Artefacts measured side by side, each in a process of its own."""

import dataclasses
import json
import os
import signal

import keras
import numpy as np
import pytest

from dirac_keras.deployment.benchmarking import benchmark, plot_benchmark, process
from dirac_keras.deployment.benchmarking.files import expand, size_of
from dirac_keras.deployment.benchmarking.process import Process, Unusable
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.keras_file import save_model
from tests.cli.entry import status_of
from tests.deployment.runtimes import tiny

IMAGES = tiny.images(6)
LABELS = tiny.sums(IMAGES).argmax(-1)
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Artefacts of one network: `net.onnx`; `turned.onnx`, whose classes 0 and 1 are swapped; OpenVINO's."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("artefacts")
    tiny.write_onnx(folder / "net.onnx", metadata={"labels": list(NAMES), "precision": "float32"})
    tiny.write_onnx(folder / "turned.onnx", np.eye(3)[[1, 0, 2]], metadata={"precision": "int8"})
    tiny.write_openvino(folder / "net.xml")
    return folder


@pytest.fixture(scope="module")
def report(folder):
    """Of all of them, with a file that is none, one that is damaged and one of other labels."""
    (folder / "notes.txt").write_text("hello")
    (folder / "damaged.onnx").write_text("hello")
    tiny.write_onnx(folder / "others.onnx", metadata={"labels": ["x", "y", "z"]})
    tiny.write_onnx(folder / "four.onnx", np.ones((3, 4)))
    names = ("net.onnx", "turned.onnx", "net.xml", "notes.txt", "damaged.onnx", "others.onnx", "four.onnx", "absent")
    paths = [folder / name for name in names]
    return benchmark(paths, (IMAGES, LABELS, NAMES), threads=1, batches=(1, 4), rounds=2)


def test_accuracy_is_that_of_the_labels(report):
    turned = np.array([1, 0, 2])[LABELS]
    assert [row["accuracy"] for row in report.rows] == [1.0, float(np.mean(turned == LABELS)), 1.0]


def test_every_artefact_is_timed_at_every_batch(report):
    for row in report.rows:
        for batch in (1, 4):
            timed = row["latency"][str(batch)]
            assert 0 < timed["median_ms"] <= timed["p95_ms"] and timed["calls"] >= 2
            assert timed["images_per_second"] == pytest.approx(1e3 * batch / timed["median_ms"])
        assert row["warm_up_seconds"] >= row["open_seconds"] > 0
        assert row["peak_memory_mib"] >= row["memory_before_mib"] > 1


def test_bad_artefacts_are_named_with_a_reason_each(report):
    reasons = {os.path.basename(path): reason for path, reason in report.failed}
    assert set(reasons) == {"notes.txt", "damaged.onnx", "others.onnx", "four.onnx", "absent"}
    assert "is no artefact" in reasons["notes.txt"] and "cannot be opened" in reasons["damaged.onnx"]
    assert "labels are not the data's: x, y, z" in reasons["others.onnx"]
    assert reasons["four.onnx"] == "it has 4 classes, the data 3" and "does not exist" in reasons["absent"]
    assert not any("\n" in reason for reason in reasons.values())
    assert reasons["absent"] == "does not exist." and reasons["damaged.onnx"].startswith("cannot be opened by")


def test_one_round_is_no_median_of_rounds(report):
    assert report.lines()[0] == "6 test images; threads: 1; medians of 2 rounds in turn"
    once = dataclasses.replace(report, rounds=1, images=1)
    assert once.lines()[0] == "1 test image; threads: 1; one round"


def test_without_a_keras_model_nothing_is_compared_and_it_is_said(report):
    assert report.reference is None and all(row["agreement"] is None for row in report.rows)
    assert any("no Keras model" in line for line in report.lines())


def test_report_is_a_table_a_record_and_a_picture(report, tmp_path):
    table = report.table()
    assert len(table) == 3 and len({tuple(row) for row in table}) == 1
    assert [row["artefact"] for row in table] == ["net.onnx", "turned.onnx", "net.xml"]
    assert json.loads(json.dumps(report.to_dict()))["failed"][0]["artefact"].endswith("notes.txt")
    assert "bytes" in table[0] or "kB" in table[0]  # not 0.00 MB
    figure = plot_benchmark(report, tmp_path / "picture.png")
    assert 100 < figure.axes[-1].get_xlim()[1] < 106 and figure.axes[-1].get_xlim()[0] > -6
    assert "grey lines: from there to the 95th percentile" in figure.get_supxlabel()
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_sizes_count_all_files_of_an_artefact(folder):
    both = sum((folder / name).stat().st_size for name in ("net.xml", "net.bin"))
    assert size_of(folder / "net.xml") == both and size_of(folder / "net.onnx") < both + 10_000


def test_folder_of_a_run_stands_for_its_artefacts(folder, tmp_path):
    for name in ("model.keras", "folded.keras"):
        (tmp_path / name).touch()
    tiny.write_onnx(tmp_path / "net.onnx")
    assert [path.name for path in expand(tmp_path)] == ["model.keras", "folded.keras", "net.onnx"]
    with pytest.raises(UserError, match="without an artefact"):
        expand(os.path.dirname(__file__))


@pytest.mark.slow
def test_keras_model_is_reference_and_baseline(folder, tmp_path):
    """Its worker and the artefacts' give the same numbers, its preprocessing is that of its file."""
    inputs = keras.Input(tiny.SHAPE)
    model = keras.Model(inputs, keras.ops.sum(inputs, (1, 2)))
    data = {"image_shape": tiny.SHAPE, "num_classes": 3, "class_names": NAMES, "mean": (0.0,) * 3, "std": (2.0,) * 3}
    save_model(model, tmp_path / "net.keras", metadata={"data": data, "seed": 3})
    told = {}

    def read(shape, metadata):
        told.update(metadata, shape=shape)
        return IMAGES, LABELS, NAMES

    paths = [folder / "net.onnx", folder / "turned.onnx", tmp_path / "net.keras"]
    report = benchmark(paths, read, threads=1, batches=(1,), rounds=1)
    assert told["shape"] == tiny.SHAPE and told["seed"] == 3
    net, turned, own = report.rows
    assert report.reference == report.baseline == str(tmp_path / "net.keras")
    assert own["form"] == "folded" and own["latency"]["1"]["times_faster"] == 1.0
    assert (net["agreement"], own["max_abs_difference"], own["sqnr_db"]) == (1.0, 0.0, None)
    # The model divides by the deviation of 2: the sums of the ONNX file are twice its own, the noise is the signal.
    assert net["max_abs_difference"] == tiny.sums(IMAGES).max() / 2 and net["sqnr_db"] == pytest.approx(0.0)
    assert turned["agreement"] == turned["accuracy"]


def test_process_that_dies_is_named_with_its_signal(folder):
    with Process(folder / "net.onnx", 1) as worker:
        worker.open()
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(Unusable, match="ended with signal SIGKILL at 'memory'"):
            worker.ask("memory")


def test_worker_of_an_artefact_imports_neither_this_package_nor_tensorflow(folder):
    with Process(folder / "net.onnx", 1) as worker:
        worker.open()
        assert worker.ask("memory")["imported"] == []


def test_artefact_without_its_runtime_is_skipped_and_said(folder, monkeypatch):
    monkeypatch.setattr(process, "TENSORFLOW", ("openvino",))  # what its process cannot import
    paths = [folder / "net.onnx", folder / "net.xml"]
    report = benchmark(paths, (IMAGES, LABELS, NAMES), threads=1, batches=(1,), rounds=1)
    assert [row["format"] for row in report.rows] == ["onnx"] and not report.failed
    ((path, reason),) = report.skipped
    assert path == str(folder / "net.xml") and "pip install 'dirac_keras[openvino]'" in reason
    assert any(line.startswith(f"skipped: {path}") for line in report.lines())


def test_nothing_measurable_is_an_error_with_the_reasons(folder):
    with pytest.raises(RunError, match=r"no artefact could be measured.*does not exist"):
        benchmark([folder / "absent.onnx"], (IMAGES, LABELS, NAMES))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batches": (0,)}, "batches must be whole numbers above 0"),
        ({"rounds": 0}, "rounds must be"),
        ({"batches": (7,)}, "a batch of 7 needs as many images. Received 6 images"),
        ({"data": (IMAGES.astype("float32"), LABELS, NAMES)}, "data must be uint8 images"),
        ({"reference": "absent.keras"}, "reference: absent.keras does not exist"),
    ],
)
def test_bad_arguments_are_named(arguments, said, folder):
    with pytest.raises(UserError, match=said):
        benchmark([folder / "net.onnx"], **({"data": (IMAGES, LABELS, NAMES), "threads": 1} | arguments))


def test_command_prints_json_and_names_what_it_skips(folder, tmp_path, monkeypatch, capfd):
    onnx = tiny.write_onnx(tmp_path / "digits.onnx", np.ones((1, 10)), shape=(8, 8, 1))
    arguments = ["benchmark", onnx, folder / "damaged.onnx", "--data=digits", "--threads=1", "--batch=1", "--rounds=1"]
    status = status_of([*arguments, f"--output={tmp_path / 'out'}", "--json"], monkeypatch)
    printed, errors = capfd.readouterr()
    record = json.loads(printed)
    assert status == 1 and "damaged.onnx" in errors and "1 of the artefacts could not be measured" in errors
    assert record["data"] == "digits" and record["images"] == 359 and len(record["rows"]) == 1
    assert record == json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (tmp_path / "out" / "benchmark.png").exists()


def test_command_replaces_no_other_file(folder, tmp_path, monkeypatch, capfd):
    (tmp_path / "benchmark.json").write_text("{}")
    arguments = ["benchmark", folder / "net.onnx", "--data=digits", f"--output={tmp_path}"]
    assert status_of(arguments, monkeypatch) == 1
    assert "is not a benchmark, so it is not replaced" in capfd.readouterr().err
    assert (tmp_path / "benchmark.json").read_text() == "{}"
