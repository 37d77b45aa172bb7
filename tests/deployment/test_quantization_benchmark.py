"""What a tensor costs in int8, by a network that can be worked by hand."""

import sys

import keras
import numpy as np
import pytest

from benchmarks import quantization_peers
from benchmarks.quantization import _table, _tensor_table


def test_what_each_tensor_costs():
    # Two numbers, 255 and one half a step above 0: only the second is rounded, to 0 or 1, by half a step.
    # Doubled, the range is 0 to 510 and the step 2: 1 is half a step again.
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2, use_bias=False, name="double")(inputs)
    x = keras.layers.Dense(2, use_bias=False, name="logits")(keras.layers.ReLU(name="relu")(x))
    model = keras.Model(inputs, x)
    model.get_layer("double").set_weights([2 * np.eye(2)])
    model.get_layer("logits").set_weights([np.eye(2)])
    images = np.array([[255.0, 0.5]], "float32")
    table = _tensor_table(model, images, images)
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["image", "relu", "sum of these", "all at once"]
    assert columns[1][:2] == ["0.50 255.00", "1.00 510.00"]
    # Noise power 1 each, signal 510^2 + 1: 54.2 dB; together 51.1. All at once: 0.5 becomes 0, and stays so.
    assert columns[2] == ["54.2", "54.2", "51.1", "54.2"]
    assert columns[3][:2] == ["50.0%", "50.0%"]


def test_a_tool_that_fails_is_a_row_with_the_reason():
    row = {"format": "onnx", "bits": 8, "way": "other", "failed": "no such operation", "seconds": 1.0}
    assert [next(iter(column.cells)) for column in _table([row]).columns][:4] == [
        "onnx",
        "int8",
        "other",
        "no such operation",
    ]


def test_floats_are_a_row_and_a_tool_that_is_not_there_is_skipped_by_name(monkeypatch):
    row = {"format": "litert", "bits": 32, "way": "ours", "failed": "", "seconds": 1.0, "sqnr_db": np.inf}
    table = _table([row | {"accuracy": 0.5, "drop_points": 0.0, "size_bytes": 2000}])
    assert [next(iter(column.cells)) for column in table.columns][1:6] == ["float32", "ours", "inf", "50.00%", "+0.00"]
    monkeypatch.setitem(sys.modules, "kimm", None)
    for name in ("kimm's own export", "kimm's own export, int8"):
        with pytest.raises(ImportError, match=r"skipped, kimm is not installed \(pip install kimm\)"):
            quantization_peers.PEERS[name]({})
