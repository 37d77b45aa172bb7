"""What a report says of the comparison and the quantization."""

import dataclasses

import pytest

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
