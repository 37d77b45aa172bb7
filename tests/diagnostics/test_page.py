"""The doctor's page: the verdict first, what it rests on with thresholds, the rest behind a fold."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from dirac_keras.diagnostics import Thresholds, judge, measure, write_page
from dirac_keras.diagnostics.curves import CURVES
from dirac_keras.diagnostics.evidence import FLOOR, gather_evidence
from dirac_keras.layers import DiracDense
from tests.pages.browser import look

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def diagnoses():
    """Of a network of Dirac layers: at its start, as if it were trained, and the spectrum at the start alone."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    outputs = inputs
    for name in ("one", "two", "three"):
        outputs = DiracDense(6, name=name, activation="relu")(outputs)
    model = keras.Model(inputs, keras.layers.Dense(5, name="logits")(outputs))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(32, 6)).astype("float32"), np.arange(32) % 5
    return measure(model, data, at_start=True), measure(model, data), measure(model, data, "spectrum", at_start=True)


@pytest.fixture(scope="module")
def path(diagnoses, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "diagnostics.html"
    write_page(diagnoses[0], path, EVIL)
    return path


@pytest.mark.parametrize("width", [400, 1600])
def test_page_in_a_browser(path, width):
    seen = look(path, width, find=["figure", "details figure", "#layers th"])
    assert not seen.faults and EVIL in seen.text
    assert len(seen.found["figure"]) - len(seen.found["details figure"]) == 3  # own share, gradient, Dirac scales
    assert len(seen.found["details figure"]) >= 10
    assert "relative gradient" in " ".join(seen.found["#layers th"])


def test_verdict_stands_first_and_the_rest_is_folded(path):
    page = path.read_text()
    places = [page.index(part) for part in ('class="verdict', 'id="what-it-rests-on"', 'id="layers"', "<details>")]
    assert places == sorted(places)


def test_every_picture_is_described_for_who_does_not_see_it(path):
    described = re.findall('<img alt="([^"]*)"', path.read_text())
    assert len(described) >= 13 and len(set(described)) == len(described)
    assert all(len(text) > 10 and "by layer" in text for text in described)


def test_each_rule_has_its_picture_with_the_threshold_drawn(diagnoses):
    thresholds = Thresholds(own_share=0.011, relative_gradient=3e-5, relative_gradient_limit=77.0, rank_per_class=0.5)
    share, gradient, scales = gather_evidence(diagnoses[0], thresholds)
    assert 0.011 in heights(share) and {3e-5, 77.0} <= heights(gradient) and 0.01 in heights(scales)
    assert "0.011" in share.healthy and "77" in gradient.healthy
    rank, _ = gather_evidence(diagnoses[1], thresholds)
    assert 2.5 in heights(rank)  # 5 classes of half a pattern


def test_ratio_of_the_gradients_is_drawn_below_the_largest(diagnoses):
    """The smallest gradient may be the largest divided by the threshold of growth; and the page names both."""
    thresholds = Thresholds(gradient_growth=2.0)
    _, gradient, _ = gather_evidence(diagnoses[0], thresholds)
    largest = max(record.gradients.relative_kernel_gradient for record in diagnoses[0].layers if not record.is_output)
    assert any(height == pytest.approx(largest / 2) for height in heights(gradient))


@pytest.mark.slow
def test_a_layer_that_the_verdict_names_is_marked_in_the_table(diagnoses, tmp_path):
    thresholds = Thresholds(own_share=2.0)  # which no network reaches
    verdict = judge(diagnoses[2], thresholds)
    write_page(diagnoses[2], tmp_path / "page.html", "title", thresholds)
    page = (tmp_path / "page.html").read_text()
    assert verdict.findings[0].layers == ("one", "two", "three") and 'class="verdict bad"' in page
    assert re.findall(r'<td class="bad">(\w+)<span class="unseen"> \(bad\)', page) == ["one", "two", "three"]


@pytest.mark.slow
def test_a_close_call_is_not_called_good(diagnoses, tmp_path):
    share = 1 - diagnoses[2].layers[-2].spectrum.leading_share
    write_page(diagnoses[2], tmp_path / "page.html", "title", Thresholds(own_share=share / 2))
    page = (tmp_path / "page.html").read_text()
    assert 'class="verdict fair"' in page and "a factor of 2.0 from the nearest threshold" in page


def test_layers_without_a_gradient_are_drawn_and_told(diagnoses):
    layers = [
        dataclasses.replace(
            record, gradients=dataclasses.replace(record.gradients, relative_kernel_gradient=0.0)
        ) if record.name == "two" else record
        for record in diagnoses[0].layers
    ]  # fmt: skip
    _, gradient, _ = gather_evidence(dataclasses.replace(diagnoses[0], layers=tuple(layers)))
    assert "0 in 1 of 3 layers" in gradient.found and gradient.figure.axes[0].lines[0].get_ydata()[1] == FLOOR


@pytest.mark.slow
def test_dead_units_and_answers_stand_on_the_page(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    layer = keras.layers.Dense(20, activation="relu", name="hidden")
    model = keras.Model(inputs, keras.layers.Dense(5, name="logits")(layer(inputs)))
    layer.bias.assign([-1e6] * 17 + [0.0] * 3)
    images = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    answers = model.predict(images, verbose=0).argmax(axis=-1)
    diagnosis = measure(model, (images, answers))
    (silent, *_) = gather_evidence(diagnosis)
    assert 75.0 in heights(silent) and silent.found == "Here: at most 85% (hidden)."
    write_page(diagnosis, tmp_path / "page.html", "title")
    page = (tmp_path / "page.html").read_text()
    assert 'class="verdict fair"' in page and "Accuracy: 100.0% of 200 images" in page


def test_every_quantity_says_what_it_means():
    assert all(curve.meaning.endswith(".") and "\n" not in curve.meaning for curve in CURVES.values())


def heights(evidence):
    """Of the horizontal lines of a picture."""
    lines = evidence.figure.axes[0].lines
    return {line.get_ydata()[0] for line in lines if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1}
