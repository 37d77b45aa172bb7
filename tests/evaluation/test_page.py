"""The page of a report, in a browser and as text."""

import json
import re

import numpy as np
import pytest

from dirac_keras.evaluation.comparison import compare
from dirac_keras.evaluation.corruptions.applying import find_corruptions
from dirac_keras.evaluation.outcomes import collect
from dirac_keras.evaluation.page import make_page
from dirac_keras.evaluation.record import record_of
from dirac_keras.evaluation.report import Report, views_record
from dirac_keras.evaluation.robustness import Robustness
from dirac_keras.evaluation.summary import headline, points
from tests.evaluation.networks import MARKUP, batches_of, spec_of, told
from tests.pages.browser import look

NAMES = [MARKUP, "$x_1$", "a & b", "</script>"]
RNG = np.random.default_rng(0)


def outcomes_of(names, images, sure=4.0, seed=0, shape=(8, 8, 3), task="classes"):
    """Outcomes of a network that is mostly right."""
    rng = np.random.default_rng(seed)
    spec = spec_of(names, shape, task)
    pixels = RNG.integers(0, 256, (images, *shape), "uint8")
    if task == "labels":
        truth = np.random.default_rng(9).integers(0, 2, (images, len(names)))
        given = np.clip(0.6 * truth + rng.random(truth.shape) * 0.6, 0, 1)
    else:
        truth = np.arange(images, dtype="int32") % len(names)
        logits = rng.normal(size=(images, len(names))) + sure * np.eye(len(names))[truth]
        given = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return collect(told(given), batches_of(pixels, truth, spec), spec, images)


def frame(task="classes", **more):
    return {"format": "x", "model": MARKUP, "data": "made", "split": "test", "task": task, "input": "pixels",
            "test_time_augmentation": "none", "seed": 0, "dirac_keras": "0", "keras_backend": "x", **more}  # fmt: skip


def report_of(outcomes, names, **more):
    record = frame(outcomes.task, **more) | record_of(outcomes, names)
    json.dumps(record, allow_nan=False)  # JSON-safe
    return Report(record, {kept.index: kept.pixels for kept in outcomes.worst})


@pytest.fixture(scope="module")
def whole():
    """A report with every part."""
    first, second = outcomes_of(NAMES, 200, 1.5), outcomes_of(NAMES, 200, 1.0, seed=1)
    report = report_of(first, NAMES, test_time_augmentation="flip")
    report.record["views"] = views_record(second, first)
    report.record["comparison"] = {"model": MARKUP, **compare(first, second, NAMES)}
    counts = {found.name: (90, 80, 70, 60, 50) for found in find_corruptions("all", 3)}
    report.record["corruptions"] = Robustness(100, 95, counts, ("fog", "snow"), "CIFAR-10-C").to_dict()
    report.record["corruptions_other"] = report.record["corruptions"]
    return report


@pytest.fixture(scope="module")
def path(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    make_page(whole).write(path)
    return path


@pytest.mark.parametrize("width", [400, 1600])
def test_page_is_whole_in_a_browser_and_names_are_text(path, width):
    seen = look(path, width, find=["h2", "img"])
    assert not seen.faults
    assert seen.text.count(MARKUP) > 10
    assert all(name in seen.text for name in NAMES)
    titles = {"Comparison", "Test-time augmentation", "Classes", "What is taken for what", "Calibration",
              "Worst mistakes", "Corrupted images", "How this was measured"}  # fmt: skip
    assert titles <= set(seen.found["h2"])
    assert len(seen.found["img"]) == 2 + 24  # two drawings and the worst mistakes


def test_page_says_the_numbers_of_the_record(path, whole):
    text, record = path.read_text(encoding="utf-8"), whole.record
    assert f"{100 * record['accuracy']:.1f} % of 200 images" in text
    assert f"{record['calibration']['expected_error']:.4f}" in text
    assert f"p = {record['comparison']['mcnemar']['exact']:.3g}" in text
    assert "constants of CIFAR-10-C" in text


@pytest.mark.slow
def test_a_thousand_classes_have_a_picture_and_the_most_confused_pairs():
    names = [f"class {k}" for k in range(1000)]
    outcomes = outcomes_of(names, 3000, 2.0, shape=(4, 4, 1))
    report = report_of(outcomes, names)
    text = make_page(report).html()
    assert len(text) < 3_000_000
    assert "matrix" not in report.record["confusion"]
    assert sum(row[2] for row in report.record["confusion"]["pairs"]) == 3000
    assert "Classes it finds worst" in text and "confusion matrix of 1000 classes" in text
    assert "A square is 5 by 5 neighbouring classes" in text
    assert re.search(r">class 999</td>.*>999</td></tr>", text)  # the number that the picture has
    worst = report.record["most_confused"][0]
    assert re.search(rf"{worst['true']}</td><td[^>]*>{worst['predicted']}</td>", text)


def test_labels_have_a_page(tmp_path):
    outcomes = outcomes_of(NAMES, 60, task="labels")
    report = report_of(outcomes, NAMES)
    make_page(report).write(tmp_path / "labels.html")
    seen = look(tmp_path / "labels.html", 400)
    assert not seen.faults and MARKUP in seen.text and "average precision" in seen.text
    assert "Calibration" not in seen.text


def test_many_labels_of_an_image_are_not_all_below_its_picture():
    """The wrong ones alone, four of each; a table of all labels is folded, as that of classes is."""
    names = [f"label {k}" for k in range(40)]
    report = report_of(outcomes_of(names, 60, task="labels"), names)
    text = make_page(report).html()
    assert "Labels it finds worst" in text and "All labels" in text
    captions = re.findall("<figcaption>(.*?)<", text)
    assert captions and all(caption.count("label ") <= 8 for caption in captions)
    row = report.record["mistakes"][0]
    wrong = [name for name in row["predicted"] if name not in row["true"]]
    assert f"wrongly given {wrong[0]} {100 * row['predicted'][wrong[0]]:.0f} %" in captions[0]
    for row in report.record["mistakes"]:  # as of images whose answers are not kept: nothing is said of them
        del row["predicted"]
    assert "given" not in " ".join(re.findall("<figcaption>(.*?)<", make_page(report).html()))


def test_many_values_are_counted_and_their_picture_is_no_tower():
    names = [f"value {k}" for k in range(60)]
    spec = spec_of(names, task="values")
    truth = np.random.default_rng(0).normal(size=(30, 60)).astype("float32")
    images = np.zeros((30, 8, 8, 1), "uint8")
    given = collect(told(np.zeros_like(truth)), batches_of(images, truth, spec), spec, 30, units=np.ones(60))
    report = report_of(given, names)
    level, text, points = headline(report.record)
    assert level == "bad" and text.endswith(" and 56 more.")
    assert points[0].endswith("value 0, value 1, value 2, value 3, value 4 and 55 more.")
    html = make_page(report).html()
    assert max(map(int, re.findall('height="([0-9]+)"', html))) < 1500
    assert all(
        caption.endswith("; and 56 more") for caption in re.findall("<figcaption>(.*?)<", html) if "given" in caption
    )


@pytest.mark.parametrize(("classes", "what"), [(2, "top-5 accuracy"), (5, "top-5 accuracy")])
def test_what_the_data_do_not_allow_is_said(classes, what):
    names = [f"c{k}" for k in range(classes)]
    record = report_of(outcomes_of(names, 40), names).record
    assert what in {row["what"] for row in record["left_out"]}
    assert "top5" not in record
    assert ("second_class" in record) == (classes == 2)


def test_two_classes_of_which_one_is_absent_have_no_roc():
    spec = spec_of("ab")
    images = np.zeros((4, 8, 8, 1), "uint8")
    outcomes = collect(told([[0.8, 0.2]] * 4), batches_of(images, np.zeros(4, "int32"), spec), spec, 4)
    record = report_of(outcomes, "ab").record
    assert "second_class" not in record
    assert {"average precision and ROC AUC", "recall of b"} <= {row["what"] for row in record["left_out"]}
    assert make_page(Report(frame() | record, {})).html()  # no mistakes, one class


def test_roc_of_two_classes_by_hand():
    """Class 1 at 0.9 and 0.3, class 0 at 0.4 and 0.1: three of four pairs are in order."""
    spec = spec_of("ab")
    images, second = np.zeros((4, 8, 8, 1), "uint8"), np.array([0.9, 0.3, 0.4, 0.1])
    batches = batches_of(images, np.array([1, 1, 0, 0], "int32"), spec)
    record = record_of(collect(told(np.c_[1 - second, second]), batches, spec, 4), "ab")
    assert record["second_class"]["roc_auc"] == 0.75
    assert record["second_class"]["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_levels_of_the_verdict():
    """No better than the commonest class: bad. Too sure, or a class never right: fair. Else good."""
    names = ["a", "b"]
    good = report_of(outcomes_of(names, 400, 4.0), names).record
    assert headline(good)[0] in ("good", "fair")
    assert headline(good | {"commonest_class_share": 0.999})[0] == "bad"
    calm = good | {"calibration": good["calibration"] | {"confidence_minus_accuracy": 0.0}}
    sure = good | {"calibration": good["calibration"] | {"confidence_minus_accuracy": 0.1}}
    assert (headline(calm)[0], headline(sure)[0]) == ("good", "fair")
    never = calm | {"per_class": [row | {"recall": 0.0} for row in calm["per_class"]]}
    assert headline(never)[0] == "fair" and "Never right: a, b." in headline(never)[2][0]


@pytest.mark.parametrize(
    ("gap", "temperature", "sentence", "mend"),
    [
        (0.1, 1.6, "More sure than right by 10.0 points", "temperature of 1.60, which makes it less sure"),
        (-0.1, 0.6, "Less sure than right by 10.0 points", "temperature of 0.60, which makes it surer"),
        (0.1, 0.6, "More sure than right by 10.0 points", ""),  # it would make the network surer still
        (-0.1, 1.6, "Less sure than right by 10.0 points", ""),
        (0.1, 1.0, "More sure than right by 10.0 points", ""),
        (0.01, 0.6, "As sure as right, within 1.0 points", ""),
    ],
)
def test_temperature_mends_what_the_sentence_says(gap, temperature, sentence, mend):
    record = report_of(outcomes_of(["a", "b"], 400, 4.0), ["a", "b"]).record
    scaling = record["calibration"]["temperature"]
    scaling |= {"temperature": temperature, "is_at_bound": False, "before": 0.2, "after": 0.1}
    record["calibration"] |= {"confidence_minus_accuracy": gap, "temperature": scaling}
    (point,) = [point for point in headline(record)[2] if "sure" in point]
    assert point.startswith(sentence) and (mend in point if mend else "temperature" not in point)


@pytest.mark.parametrize(
    ("scale", "words"), [(3.0, "above 1, it makes the network less sure"), (0.4, "below 1, it makes the network surer")]
)
def test_fitted_temperature_goes_against_the_gap(scale, words):
    """Logits of known probabilities, multiplied: 3 makes the network too sure, and is what divides them again."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 4)) * 1.5
    truth = np.array([rng.choice(4, p=np.exp(row) / np.exp(row).sum()) for row in logits], "int32")
    given = np.exp(logits * scale) / np.exp(logits * scale).sum(-1, keepdims=True)
    spec = spec_of("abcd")
    outcomes = collect(told(given), batches_of(np.zeros((2000, 8, 8, 1), "uint8"), truth, spec), spec, 2000)
    record = report_of(outcomes, "abcd").record
    assert record["calibration"]["temperature"]["temperature"] == pytest.approx(scale, rel=0.1)
    assert np.sign(record["calibration"]["confidence_minus_accuracy"]) == np.sign(scale - 1)
    assert words in make_page(Report(frame() | record, {row["index"]: np.zeros((8, 8, 1), "uint8")
                                                        for row in record["mistakes"]})).html()  # fmt: skip


def test_classes_without_images_stand_on_the_page_and_in_the_record():
    names = [f"c{k}" for k in range(7)]
    spec = spec_of(names)
    truth = np.array([0, 2] * 10, "int32")
    outcomes = collect(told(np.eye(7)[truth]), batches_of(np.zeros((20, 8, 8, 1), "uint8"), truth, spec), spec, 20)
    report = report_of(outcomes, names)
    assert report.record["absent_classes"] == ["c1", "c3", "c4", "c5", "c6"]
    sentence = "No image of 5 of 7 classes, of which nothing is known: c1, c3, c4, c5, c6."
    assert sentence in headline(report.record)[2] and sentence in make_page(report).html()
    assert "absent_classes" not in report_of(outcomes_of(names, 70), names).record


@pytest.mark.parametrize("values", [1, 2])
def test_values_have_a_page(values):
    """Of two values the second is always answered with about its mean: that is said."""
    names = [MARKUP, "second"][:values]
    spec = spec_of(names, task="values")
    truth = np.random.default_rng(0).normal(size=(30, values)).astype("float32")
    given = np.stack([truth[:, 0] + 0.1, *([np.full(30, truth[:, 1].mean() + 0.01)] if values > 1 else [])], axis=-1)
    images = np.zeros((30, 8, 8, 1), "uint8")
    report = report_of(collect(told(given), batches_of(images, truth, spec), spec, 30, units=np.ones(values)), names)
    text = make_page(report).html()
    assert MARKUP not in text and "Values" in text and "0.1" in text
    assert f"{0.1 if values == 1 else report.record['mistakes'][0]['error_in_deviations']:.2f} deviations" in text
    level, _, points = headline(report.record)
    assert (level, points) == (
        ("good", []) if values == 1 else ("bad", ["No better than always answering the mean: second."])
    )


def of_labels(probabilities, truth, names="abc"):
    """The record of a network of labels that answers so."""
    spec = spec_of(names[: truth.shape[1]], task="labels")
    images = np.zeros((len(truth), 8, 8, 1), "uint8")
    return report_of(
        collect(told(probabilities), batches_of(images, truth, spec), spec, len(truth)), spec.class_names
    ).record


def test_levels_of_the_verdict_on_labels():
    """No better than the commonest labels together, or than chance on each label: bad. A label never given: fair."""
    truth = np.random.default_rng(0).integers(0, 2, (40, 3))
    sure = np.where(truth, 0.9, 0.1)
    assert headline(of_labels(sure, truth))[0] == "good"
    silent = sure * [1.0, 1.0, 0.5]
    level, _, points = headline(of_labels(silent, truth))
    assert level == "fair" and "Never given: c." in points[0]

    commonest = np.where(np.arange(40)[:, None] < 30, [1, 0, 0], truth)
    constant = np.tile([0.9, 0.1, 0.1], (40, 1))
    record = of_labels(constant, commonest)
    assert record["commonest_labels_share"] == record["exact_match"] >= 0.75
    level, _, points = headline(record)
    assert level == "bad" and "commonest labels together" in points[0] and "than by chance" in points[1]
    assert [row["share"] for row in record["per_label"]] == pytest.approx(commonest.mean(0).tolist())
    assert headline(of_labels(1.0 - sure, truth))[0] == "bad"  # the wrong way round


LONG = "Supercalifragilisticexpialidocious_" * 5
HEBREW, ARABIC = "\u05db\u05dc\u05d1 (3)", "\u0642\u0637\u0629"
INSIDE = """[...document.querySelectorAll("td, th")].filter(cell => cell.scrollWidth > cell.clientWidth + 1).length"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A page whose classes have very long names, of one word and of many, and names from right to left."""
    names = [LONG + "A", LONG + "B", "a name of many words " * 9, HEBREW, ARABIC]
    report = report_of(outcomes_of(names, 100, 0.5), names)
    path = tmp_path_factory.mktemp("odd") / "report.html"
    make_page(report).write(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("width", "media"), [(400, "screen"), (1600, "screen"), (794, "print")])
def test_long_names_stay_in_their_cells_and_the_page_in_its_window(odd, width, media):
    """794 pixels are the width of A4. No cell is narrower than its text, and the matrix begins within the screen."""
    place = "document.querySelector('.upright').getBoundingClientRect()"
    run = f"[{INSIDE}, {place}.height, {place}.left]"
    seen = look(odd, width, run=run, media=media)
    overflowing, height, left = seen.value
    assert not seen.faults and overflowing == 0
    assert height < 300 and left < width


def test_names_from_right_to_left_are_kept_apart_from_the_sentence(odd):
    """Else the number in the brackets of one and the name beside it would change places."""
    text = odd.read_text(encoding="utf-8")
    assert text.count(f"\u2068{HEBREW}\u2069") > 5
    assert f"{HEBREW}" not in text.replace(f"\u2068{HEBREW}\u2069", "")
    # Both ends of a long name stand in the matrix, for classes that differ in their last letter.
    assert "cious_A</th>" in text and "cious_B</th>" in text


def test_title_says_what_is_compared(whole):
    assert make_page(whole).title == f"Evaluation of {MARKUP}, compared with {MARKUP}"


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert [points(value) for value in (-0.0004, 0.0004, -0.015, 0.2)] == ["+0.0", "+0.0", "-1.5", "+20.0"]
