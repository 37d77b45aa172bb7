"""The verdict: what is wrong is found, named by its layers, and what is right is left alone."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.constraints import MaxNorm
from dirac_keras.diagnostics import Thresholds, judge, layer_rows, measure, write_page
from dirac_keras.diagnostics.verdict import margin, signs
from dirac_keras.layers import DiracDense
from dirac_keras.models import build_plainnet


def data(count=64, classes=4, size=16, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, size)).astype("float32"), random.integers(0, classes, count)


def network(depth=3, units=24, activation="relu", initializer="he_normal", size=16, **options):
    x = inputs = keras.Input((size,))
    for k in range(depth):
        x = layers.Dense(units, activation=activation, kernel_initializer=initializer, name=f"dense{k + 1}", **options)(
            x
        )
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def verdict(model, at_start=True, **options):
    return judge(measure(model, data(**options), at_start=at_start))


def names(found):
    return [finding.name for finding in found.findings]


def test_sound_network_has_no_finding():
    found = verdict(network())
    assert found.will_train is True
    assert found.findings == () and found.not_judged == ()
    assert found.lines() == [found.summary]


def test_images_that_give_one_pattern_are_found_where_it_begins():
    model = network(depth=4)
    for name in ("dense3", "dense4"):  # a bias that drowns what differs
        model.get_layer(name).bias.assign(1e4 * np.ones(24))
    found = verdict(model)
    assert found.will_train is False
    finding = next(finding for finding in found.findings if finding.name == "one pattern")
    assert finding.layers == ("dense3", "dense4")
    assert finding.evidence.startswith("layers dense3 to dense4 (2 of 4): all images give the same pattern, 100.00%")
    assert "LeakyReLU(0.3) in place of ReLU" in finding.advice and "BatchNormalization" in finding.advice


def test_a_pattern_that_later_layers_resolve_is_no_finding():
    model = network(depth=3)
    model.get_layer("dense2").bias.assign(1e4 * np.ones(24))
    kernel = keras.ops.convert_to_numpy(model.get_layer("dense3").kernel)
    model.get_layer("dense3").bias.assign(-1e4 * kernel.sum(axis=0))
    assert "one pattern" not in names(verdict(model))


def test_silent_layer_is_found_and_named():
    model = network()
    model.get_layer("dense2").kernel.assign(np.zeros((24, 24)))
    found = verdict(model)
    silent = next(finding for finding in found.findings if finding.name == "silent")
    assert found.will_train is False
    assert silent.layers == ("dense2", "dense3")


def test_vanishing_gradient_is_measured_against_the_kernel():
    model = network(depth=2, activation="linear", initializer="orthogonal")
    scale = 1e-7
    model.get_layer("head").kernel.assign(
        scale * np.asarray(keras.ops.convert_to_numpy(model.get_layer("head").kernel))
    )
    assert names(verdict(model)) == ["vanishing gradient"]
    # the same gradient of kernels as small is none
    model = network(depth=2, activation="linear", initializer="orthogonal")
    assert names(verdict(model)) == []


def test_exploding_gradient_is_one_where_nothing_normalizes():
    model = network(depth=2, activation="linear", initializer="orthogonal")
    head = model.get_layer("head").kernel
    head.assign(1e3 * keras.ops.convert_to_numpy(head))
    found = verdict(model)
    assert names(found) == ["exploding gradient"] and "at a rate near " in found.findings[0].advice
    normalized = build_plainnet(depth=2, units=24, input_shape=(4, 4, 1), scenario="bn", num_classes=4)
    head = normalized.get_layer("head_dense").kernel
    head.assign(1e3 * keras.ops.convert_to_numpy(head))
    images, labels = data()
    found = judge(measure(normalized, (images.reshape(-1, 4, 4, 1), labels), at_start=True))
    assert found.will_train is True


def test_gradients_that_grow_from_layer_to_layer_are_found():
    model = network(depth=2, activation="linear", initializer="orthogonal")
    kernel = model.get_layer("dense2").kernel
    kernel.assign(1e4 * keras.ops.convert_to_numpy(kernel))  # the layer below gets 1e4 of the gradient
    found = verdict(model)
    finding = next(finding for finding in found.findings if finding.name == "uneven gradient")
    assert finding.layers == ("dense1", "dense2")
    assert margin(measure(model, data(), at_start=True)) < 1


def test_what_is_not_finite_is_named_and_decides():
    model = network()
    kernel = keras.ops.convert_to_numpy(model.get_layer("dense2").kernel)
    model.get_layer("dense2").kernel.assign(np.full_like(kernel, np.inf))
    found = verdict(model)
    assert found.will_train is False
    assert found.findings[0].name == "not finite" and found.findings[0].layers == ("dense2",)
    images, labels = data()
    images[3, 2] = np.nan
    found = judge(measure(network(), (images, labels)))
    assert found.findings[0].evidence == "the images hold NaN or infinite values."


def test_low_rank_of_a_trained_network_is_found():
    model = network(depth=3)
    kernel = keras.ops.convert_to_numpy(model.get_layer("dense2").kernel)
    model.get_layer("dense2").kernel.assign(np.outer(np.abs(kernel[:, 0]), np.ones(24)))  # one unit, 24 times
    found = verdict(model, at_start=False)
    assert found.will_train is False and names(found) == ["low rank"]
    assert found.findings[0].layers == ("dense2", "dense3")
    assert "effective rank 1.0" in found.findings[0].evidence


def test_what_cannot_be_judged_is_said():
    images, _ = data()
    found = judge(measure(network(), images, at_start=True))
    assert found.will_train is True and len(found.not_judged) == 2
    assert any("none measured" in line for line in found.lines())
    found = judge(measure(network(), quantities="weights"))
    assert found.will_train is None and found.summary.startswith("none: ")


def test_classifier_that_starts_at_zero_is_no_vanishing_gradient():
    model = network()
    model.get_layer("head").kernel.assign(np.zeros((24, 4)))
    found = verdict(model)
    assert found.will_train is True and any("classifier's kernel is 0" in line for line in found.not_judged)


def test_offset_of_a_sigmoid_is_no_common_pattern():
    found = verdict(network(depth=2, activation="sigmoid", initializer="glorot_uniform"))
    assert "one pattern" not in names(found) and any("no ReLU" in line for line in found.not_judged)


def test_rank_of_two_classes_or_two_images_decides_nothing():
    x = inputs = keras.Input((16,))
    x = layers.Dense(8, activation="relu", kernel_initializer="ones")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    images, labels = data(classes=2)
    assert judge(measure(model, (images, labels))).will_train is None
    assert judge(measure(network(), data(3))).will_train is None


def test_silent_network_has_no_margin():
    model = network()
    model.get_layer("dense2").kernel.assign(np.zeros((24, 24)))
    assert margin(measure(model, data(), at_start=True)) == 0.0


def test_what_is_no_diagnosis_is_refused():
    with pytest.raises(ValueError, match=r"diagnosis must be what measure\(\) returns. Received Functional"):
        judge(network())
    with pytest.raises(ValueError, match=r"thresholds must be Thresholds\(\). Received dict"):
        judge(measure(network(), data()), {"own_share": 0.1})


def test_advice_names_what_is_missing_only():
    tiny = {"kernel_initializer": keras.initializers.RandomNormal(stddev=1e-6, seed=0)}
    x = inputs = keras.Input((16,))
    for _ in range(2):
        x = layers.LeakyReLU(0.3)(DiracDense(16, filter_scale_initializer="zeros", kernel_constraint=MaxNorm())(x))
    kernel = layers.Dense(4, **tiny)
    model = keras.Model(inputs, kernel(x))
    (finding, *_) = verdict(model).findings
    assert finding.advice.startswith("Add BatchNormalization after each kernel. Or start from larger kernels")
    assert "Dirac" not in finding.advice and "LeakyReLU" not in finding.advice and "MaxNorm" not in finding.advice


def test_thresholds_are_arguments():
    found = judge(measure(network(), data(), at_start=True), Thresholds(own_share=1.0))
    assert names(found) == ["one pattern"]


def test_margin_is_the_factor_of_the_nearest_threshold():
    diagnosis = measure(network(), data(), at_start=True)
    share = 1 - diagnosis.layers[-2].spectrum.leading_share
    assert margin(diagnosis, Thresholds(share / 3, 1e-30, 1e30)) == pytest.approx(3)
    assert margin(diagnosis, Thresholds(share * 3, 1e-30, 1e30)) == pytest.approx(1 / 3)
    growth = signs(diagnosis)["gradient_growth"]
    assert margin(diagnosis, Thresholds(1e-30, 1e-30, 1e30, growth * 2)) == pytest.approx(2)
    size = signs(diagnosis)["relative_gradient"]
    assert margin(diagnosis, Thresholds(1e-30, size / 5, 1e30, 1e30)) == pytest.approx(5)
    assert margin(diagnosis, Thresholds(1e-30, 1e-30, size * 4, 1e30)) == pytest.approx(4)


def test_verdict_is_in_the_page_and_json_safe(tmp_path):
    model = network()
    model.get_layer("dense2").kernel.assign(np.zeros((24, 24)))
    diagnosis = measure(model, data(), at_start=True)
    found = judge(diagnosis)
    assert json.loads(json.dumps(found.to_dict()))["will_train"] is False
    write_page(diagnosis, tmp_path / "page.html", "a <network>")
    page = (tmp_path / "page.html").read_text()
    assert 'class="verdict bad"' in page and "every unit is 0" in page and "a &lt;network&gt;" in page
    assert len(layer_rows(diagnosis)) == 4
