"""What a report says of the comparison and the quantization."""

import dataclasses
import math

import pytest

from dirac_keras.deployment.quantization import signal_to_noise_db
from dirac_keras.deployment.quantization.gate import Gate
from dirac_keras.deployment.quantization.report import QuantizationReport, Trial
from dirac_keras.deployment.report import ExportReport, images_text

COMPARED = {"images": 64, "of": "test images of digits", "real": True, "sqnr_db": 33.0, "agreement": 1.0}
REPORT = ExportReport("net.onnx", "onnx", {}, 0.1, 12_340, precision="int8", runtime="onnxruntime 1", compared=COMPARED)


@pytest.mark.parametrize(
    ("compared", "text"),
    [
        ({"images": 64}, "64 of the given images"),
        ({"images": 1, "of": "of the given images"}, "1 of the given images"),
        ({"images": 1, "of": "test images of digits"}, "1 test image of digits"),
        ({"images": 8, "of": "images of random pixels"}, "8 images of random pixels"),
    ],
)
def test_report_says_which_images_it_was_compared_on(compared, text):
    assert images_text(compared) == text


def test_report_has_the_cures_and_each_note_once():
    quantized = {"text": "int8 weights\n* follow  33.1\n  note: few images", "notes": ["few images"]}
    lines = str(dataclasses.replace(REPORT, quantization=quantized, notes=("few images", "another"))).splitlines()
    assert lines[0].startswith("onnx int8 net.onnx (12.3 kB; ") and "64 test images of digits; onnx" in lines[0]
    assert lines[1:] == ["  int8 weights", "  * follow  33.1", "    note: few images", "  note: another"]


@pytest.mark.parametrize("name", ["follow", "follow, equalize, equalize_activations, gptq, bias, identity_apart"])
def test_table_of_cures_keeps_its_columns_whatever_the_names(name):
    lines = table_of(Trial(tuple(name.split(", ")), 33.0, 40.0, 0.98), Trial(("nearest",), 30.0, 40.0, 0.5, 0.9))
    assert lines[1].startswith(f"* {name}  ")
    assert lines[0].index("dB") + 2 == lines[1].index("33.0") + 4 == lines[2].index("30.0") + 4


def table_of(*trials):
    """The lines of the table of a report with these trials, the first chosen."""
    fields = dict.fromkeys(field.name for field in dataclasses.fields(QuantizationReport))
    fields |= {"bits": 8, "images": 1, "held_out": 1, "trials": trials, "chosen": trials[0], "left": {}, "notes": ()}
    text = str(QuantizationReport(**fields | {"kept_steps": ()}))
    return text.splitlines()[1 : 2 + len(trials)]


def test_equal_outputs_are_said_to_be_equal_and_not_infinite():
    db = signal_to_noise_db([[1.0, 2.0]], [[1.0, 2.0]])
    report = dataclasses.replace(REPORT, max_abs_difference=0.0, compared={**COMPARED, "sqnr_db": db})
    texts = [str(report), str(Gate(min_sqnr=30).check([[1.0, 2.0]], [[1.0, 2.0]])), *table_of(Trial((), db, db, 1.0))]
    assert all("inf" not in text for text in texts) and [text.count("equal") for text in texts] == [1, 1, 0, 2]


def test_zeros_that_become_something_are_all_noise():
    assert signal_to_noise_db([0.0, 0.0], [1.0, 0.0]) == -math.inf
