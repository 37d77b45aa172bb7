"""What `python -m benchmarks.deployment` says of a network's record."""

import pathlib

from click.testing import CliRunner

from benchmarks.deployment import (
    PRECISIONS,
    _recommended,
    artefact_path,
    artefacts_of,
    base_of,
    main,
    markdown,
    targets,
)


def row(name, precision, accuracy, sqnr, faster):
    one = {"median_ms": 2.0, "p95_ms": 3.0, "images_per_second": 500.0, "times_faster": faster}
    return {
        "artefact": f"runs/{name}",
        "form": "folded" if name.endswith(".keras") else None,
        "precision": precision,
        "size_bytes": 1_500_000,
        "warm_up_seconds": 0.25,
        "latency": {"1": one, "32": one},
        "peak_memory_mib": 80.0,
        "accuracy": accuracy,
        "agreement": 0.99,
        "max_abs_difference": 0.01,
        "sqnr_db": sqnr,
    }


RECORD = {
    "rows": [
        row("folded.keras", "float32", 0.800, None, 1.0),
        row("net-int8.onnx", "int8", 0.798, 36.0, 3.5),
        row("net-int8.tflite", "int8", 0.796, 34.0, 2.0),
        row("net-int4.xml", "int4", 0.791, 15.0, 1.0),
    ],
    "reference": "runs/folded.keras",
    "batches": [1, 32],
    "images": 1000,
    "threads": 2,
    "rounds": 9,
    "machine": "M",
    "date": "2026-01-01",
}


def test_targets_are_met_or_missed_by_the_figures():
    best, onnx, litert, four = targets(RECORD)
    assert "best net-int8.onnx, 3.50 times faster" in best and best.endswith("(target 3: met)")
    assert "-0.20 points (target -0.3 at most: met), SQNR 36.0 dB (target 35: met)" in onnx
    assert "-0.40 points (target -0.3 at most: MISSED), SQNR 34.0 dB (target 35: MISSED)" in litert
    assert four.endswith("accuracy -0.90 points (target -1 at most: met)")


def test_figure_that_misses_by_less_than_its_rounding_is_not_shown_as_the_target():
    rows = [RECORD["rows"][0], row("net-int8.onnx", "int8", 0.8, 34.96, 3.5)]
    assert "SQNR 34.96 dB (target 35: MISSED)" in list(targets({**RECORD, "rows": rows}))[1]


def test_markdown_has_a_row_for_each_artefact():
    lines = list(markdown("net", RECORD))
    assert lines[0] == "net: 1,000 test images, 2 threads, 9 rounds; M, 2026-01-01"
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 5 and len({line.count("|") for line in rows}) == 1
    assert rows[1].startswith("| folded.keras, folded | 1.50 | 250 | 2 (3), 500, 1.00 |")


def test_artefacts_of_a_folder_are_those_that_are_there(tmp_path):
    assert artefact_path(tmp_path, "litert", "int8-nearest") == tmp_path / "net-int8-nearest.tflite"
    for name in ("net-int8.onnx", "net-float32.xml", "net-int4-nearest.tflite", "others.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "saved_model").mkdir()
    found = [pathlib.Path(path).name for path in artefacts_of(tmp_path)]
    assert found == ["saved_model", "net-float32.xml", "net-int8.onnx", "net-int4-nearest.tflite"]


def test_recommended_settings_stand_beside_the_plain_ones():
    assert "int8-recommended" in PRECISIONS and base_of("int4-recommended") == "int4"
    assert _recommended("int8", "onnx", ("follow",), 0.06) == {"cures": ("follow",), "max_kept": 0.06}
    assert _recommended("int4", "litert", ("follow",), 0.06) == {"cures": ("follow", "identity_apart")}
    assert _recommended("int4", "onnx", ("follow",), 0.06) == {}  # which keeps the identity in float by itself


def test_untrained_workdir_is_said(tmp_path):
    result = CliRunner().invoke(main, ["plain-28-1", "--only=measure", f"--workdir={tmp_path}"])
    assert result.exit_code == 1 and "holds no trained network" in str(result.exception)
