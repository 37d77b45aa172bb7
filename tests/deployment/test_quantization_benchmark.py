"""What a tensor costs in int8, by a network that can be worked by hand."""

import keras
import numpy as np

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
