import dataclasses

import numpy as np

from dirac_keras.brief import brief
from dirac_keras.evaluation.report import Report
from pipelines import load_splits


@brief
@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Every kind of field that a result has."""

    name: str
    maps: np.ndarray
    scores: tuple
    few: tuple
    layers: dict
    settings: dict
    inner: object = None
    hidden: int = dataclasses.field(default=0, repr=False)


def result(inner=None, name="gradcam", few=(1, 0.5, None)):
    return Result(
        name, np.zeros((6, 8, 8), "float32"), (0.25,) * 1000, few, dict.fromkeys(range(200), "x"), {"steps": 8}, inner
    )


def test_a_result_is_a_line_whatever_it_holds():
    assert repr(result()) == (
        "Result(name='gradcam', maps=float32 (6, 8, 8), scores=<tuple of 1,000 float>, few=(1, 0.5, None), "
        "layers=<dict of 200 str>, settings={'steps': 8}, inner=None)"
    )


def test_long_texts_are_cut_and_what_lies_inside_is_named():
    text = repr(result(inner=result(), name="long " * 100, few=(result(), np.ones(3))))
    assert "inner=<Result>" in text and "few=<tuple of 2>" in text and len(text) < 400
    assert "name='long long" in text and "\N{HORIZONTAL ELLIPSIS}" in text


def test_data_are_told_by_their_parts_and_a_report_by_what_it_comes_to():
    splits = load_splits("digits", max_train=20, max_test=10, validation=4, reader="numpy")
    assert repr(splits) == "<ArraySplits of digits: 16 train, 4 validation, 10 test; images 8x8x1; 10 classes>"
    assert repr(splits.spec) == "<DataSpec of digits: images 8x8x1; 10 classes; 16 train, 4 validation, 10 test>"
    values = [{"name": "x", "mean_absolute_error": 0.5, "r2": 0.9}]
    report = Report({"model": "m", "data": "d", "task": "values", "per_value": values, "mistakes": [0] * 999}, {})
    assert repr(report) == "<Report of m on d: Mean absolute error 0.5.>"
