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


def without_labels(model):
    """As it is; what it names right, of labels at random, is left out."""
    return judge(measure(model, data()[0]))


def naming(right, classes=4, seed=0):
    """A network, images and labels: the image says the class, and of all images the share `right` names it."""
    x = inputs = keras.Input((classes,))
    outputs = layers.Dense(classes, kernel_initializer="identity", name="head")(
        layers.Dense(classes, activation="relu", kernel_initializer="identity", name="hidden")(x)
    )
    labels = np.arange(400) % classes
    shown = np.where(np.arange(400) < 400 * right, labels, (labels + 1) % classes)
    return keras.Model(inputs, outputs), np.eye(classes, dtype="float32")[shown], labels


def kill(layer, share):
    """The first units of a layer of ReLUs become dead."""
    bias = np.zeros(layer.units, "float32")
    bias[: round(share * layer.units)] = -1e6
    layer.bias.assign(bias)


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
    found = without_labels(model)
    assert found.will_train is None and names(found) == ["low rank"]  # what it answers is not known
    assert found.summary == "not in order: low rank."
    assert found.findings[0].layers == ("dense2", "dense3")
    assert "effective rank 1.0" in found.findings[0].evidence


@pytest.mark.parametrize("right", [0.7, 0.25])
def test_low_rank_is_no_verdict_against_answers_that_are_right(right):
    """One hidden pattern, the number of the class: the largest of k x - k^2 / 2 over the classes k is the next to x.

    Its rank is 1, below the 0.26 * 4 = 1.04 of four classes, and it names every image that shows its class.
    """
    _, shown, labels = naming(right)
    inputs = keras.Input((4,))
    first = layers.Dense(8, activation="relu", name="first")
    head = layers.Dense(4, name="head")
    model = keras.Model(inputs, head(first(inputs)))
    first.set_weights([np.tile(np.arange(4.0)[:, None], 8), np.zeros(8)])
    head.set_weights([np.tile(np.arange(4.0) / 8, (8, 1)), -(np.arange(4.0) ** 2) / 2])
    found = judge(measure(model, (shown, labels)))
    if right == 0.25:
        assert found.will_train is False and found.summary == "cannot learn as it is: low rank, chance."
        assert "few patterns to tell 4 classes apart" in found.findings[0].evidence
        return
    assert found.will_train is True and names(found) == ["low rank"]
    assert found.summary == "has learned, but is not in order: low rank."
    assert "though 70.0% of the images are right" in found.findings[0].evidence
    assert found.findings[0].advice.startswith("Train it longer, if its accuracy still grows. Else: add Batch")


def test_silent_branch_of_a_network_that_answers_well_is_a_part_lost():
    """In a chain a silent layer leaves nothing to tell the images by; in a branch the others carry them."""
    _, shown, labels = naming(1.0)
    inputs = keras.Input((4,))
    works = layers.Dense(4, activation="relu", kernel_initializer="identity", name="works")
    silent = layers.Dense(4, activation="relu", kernel_initializer="zeros", name="silent")
    head = layers.Dense(4, kernel_initializer="identity", name="head")
    x = works(inputs)
    found = judge(measure(keras.Model(inputs, head(layers.Add()([x, silent(x)]))), (shown, labels)))
    assert found.will_train is True and names(found) == ["silent"] and found.findings[0].layers == ("silent",)
    assert found.summary == "has learned, with a part of it lost: silent."


@pytest.mark.parametrize(
    ("right", "found"),
    [(1.0, []), (0.4, []), (0.25, ["chance"]), (0.29, ["chance"]), (0.0, ["chance"])],
)
def test_answers_no_better_than_chance_are_found(right, found):
    """400 images of 4 classes: one class gets 25 %, the deviation of that is sqrt(3 / 16 / 400) = 2.17 %."""
    model, images, labels = naming(right)
    diagnosis = measure(model, (images, labels))
    assert diagnosis.answers.accuracy == pytest.approx(right)
    assert diagnosis.answers.accuracy_of_chance == pytest.approx(0.25 + 3 * 0.0216506, abs=1e-6)
    verdict = judge(diagnosis)
    assert names(verdict) == found and verdict.will_train is (not found)
    if found:
        assert verdict.summary == "has learned nothing: chance."
        assert f"names {right:.1%} of 400 images right" in verdict.findings[0].evidence
        assert "always naming the most frequent class gets 25.0%" in verdict.findings[0].evidence


def test_rare_classes_that_are_named_are_no_chance():
    """Of 1,000 images 900 are of one class. 60 of its images and 60 of the 100 others are named right: 12 %, far below
    always naming the first (90 %), but the mean recall is 0.5 * (60 / 900 + 0.6) = 1 / 3 for two classes, chance. With
    600 and 90 right it is (2 / 3 + 0.9) / 2 = 0.78: the rare ones had more weight, and it has learned.
    """
    model, *_ = naming(1.0, classes=2)
    labels = np.repeat([0, 1], [900, 100])
    for named, found in ((60, 60), ["chance"]), ((600, 90), []):
        right = np.concatenate([np.arange(900) < named[0], np.arange(100) < named[1]])
        images = np.eye(2, dtype="float32")[np.where(right, labels, 1 - labels)]
        diagnosis = measure(model, (images, labels))
        assert diagnosis.answers.mean_recall == pytest.approx((named[0] / 900 + named[1] / 100) / 2)
        assert names(judge(diagnosis)) == found


def test_few_images_do_not_tell_whether_a_network_has_learned():
    model, images, labels = naming(0.0)
    found = judge(measure(model, (images[:6], labels[:6])))
    assert "chance" not in names(found) and "(6 images of 4 classes: too few)" in " ".join(found.not_judged)
    found = judge(measure(model, (images[::4], labels[::4])))  # one class alone
    assert "chance" not in names(found) and "(100 images of 1 class: too few)" in " ".join(found.not_judged)


@pytest.mark.parametrize("labels", [np.eye(4)[np.zeros(400, int)], np.linspace(0, 1, 400), np.full(400, 7)])
def test_labels_that_name_no_class_tell_nothing_about_chance(labels):
    model, images, _ = naming(1.0)
    diagnosis = measure(model, (images, labels), ("activations", "spectrum"))
    assert diagnosis.answers is None and "no class numbers" in " ".join(judge(diagnosis).not_judged)


def test_answers_are_not_asked_of_an_untrained_network():
    assert measure(network(), data(), at_start=True).answers is None


def test_layer_with_most_units_dead_is_found_in_a_network_that_works():
    """The classes pass through the quarter that lives, so it can learn; its page is not green."""
    model, images, labels = naming(1.0)
    wide = layers.Dense(40, activation="relu", kernel_initializer="zeros", name="wide")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(4, name="head")(wide(inputs)))
    kernel = np.zeros((4, 40), "float32")
    kernel[:, 32:] = np.tile(np.eye(4), 2)  # eight units live
    wide.kernel.assign(kernel)
    model.get_layer("head").kernel.assign(np.vstack([np.zeros((32, 4)), np.eye(4), np.eye(4)]))
    found = judge(measure(model, (images, labels)))
    assert names(found) == ["dead units"] and found.findings[0].layers == ("wide",)
    assert found.will_train is True and found.summary == "has learned, with a part of it lost: dead units."
    assert "32 of 40 (80%) in wide" in found.findings[0].evidence
    unlabelled = judge(measure(model, images))
    assert unlabelled.will_train is None and unlabelled.summary == "not in order: dead units."
    nothing = judge(measure(model, (images, np.random.default_rng(0).permutation(labels))))
    assert nothing.will_train is False and nothing.summary == "has learned nothing: dead units, chance."


def test_dead_units_at_the_start_are_told_beside_the_verdict():
    model = network()
    kill(model.get_layer("dense2"), 0.8)
    found = verdict(model)
    assert names(found) == ["dead units"] and found.will_train is True
    assert found.summary == "will train, as far as its start shows, with a part of it lost: dead units."


def test_fewer_dead_units_few_images_and_other_functions_are_no_finding():
    model = network()
    kill(model.get_layer("dense2"), 0.7)
    assert names(verdict(model)) == []
    kill(model.get_layer("dense2"), 0.8)
    assert names(judge(measure(model, data(31), at_start=True))) == []  # others may wake them
    leaky = network(activation="leaky_relu")
    kill(leaky.get_layer("dense2"), 0.8)
    assert "dead units" not in names(verdict(leaky))


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


def residual(end, stem=True, head="glorot_uniform"):
    """Two residual branches whose end is 0 at the start: its scale, its kernel, or a factor on it; or not at all."""
    x = inputs = keras.Input((16,))
    x = layers.Dense(16, activation="relu", kernel_initializer="he_normal", name="stem")(x) if stem else x
    for k in range(2):
        y = layers.Dense(16, activation="relu", kernel_initializer="he_normal", name=f"branch{k}_first")(x)
        y = layers.Dense(16, kernel_initializer="zeros" if end == "kernel" else "he_normal", name=f"branch{k}_last")(y)
        if end in ("scale", "sound"):
            y = layers.BatchNormalization(gamma_initializer="zeros" if end == "scale" else "ones")(y)
        x = layers.Add()([x, y * 0.0 if end == "factor" else y])
    return keras.Model(inputs, layers.Dense(4, kernel_initializer=head, name="head")(layers.ReLU()(x)))


@pytest.mark.parametrize(("end", "resting"), [("scale", 4), ("kernel", 2), ("factor", 4), ("sound", 0)])
def test_branches_that_start_at_zero_train_and_what_the_start_does_not_show_is_said(end, resting):
    """The first step moves what is 0 at a branch's end; until then no gradient comes to the kernels before it."""
    found = verdict(residual(end))
    assert found.will_train is True and found.findings == ()
    notes = [line for line in found.not_judged if "in the first step" in line]
    assert len(notes) == bool(resting)
    if resting:
        assert notes[0].startswith(f"the gradient of {resting} layers of 5 ('branch0_first', ")
        assert ("a branch that starts at 0 ('branch0_last', 'branch1_last')" in notes[0]) == (end != "factor")
    assert margin(measure(residual(end), data(), at_start=True)) > 1


def test_silent_branch_is_found_where_nothing_comes_to_its_end():
    """Behind a ReLU a unit at 0 stays there, and two ends in a row that are 0 give each other no gradient."""
    dead = residual("sound")
    kill(dead.get_layer("branch0_first"), 1.0)
    assert "silent" in names(verdict(dead)) and verdict(dead).will_train is False
    chain = network(depth=3, activation="linear")
    for name in ("dense2", "dense3"):
        chain.get_layer(name).kernel.assign(np.zeros((24, 24)))
    assert "silent" in names(verdict(chain))


def test_network_of_nothing_but_branches_that_start_at_zero_is_no_vanishing_gradient():
    found = verdict(residual("scale", stem=False))
    assert names(found) == [] and any("the end of every branch is 0," in line for line in found.not_judged)
    # nor one whose classifier starts at 0 too: which of the two holds the gradient back is not known
    found = verdict(residual("scale", head="zeros"))
    assert names(found) == [] and any("classifier's kernel" in line for line in found.not_judged)


def test_offset_of_a_sigmoid_is_no_common_pattern():
    found = verdict(network(depth=2, activation="sigmoid", initializer="glorot_uniform"))
    assert "one pattern" not in names(found) and any("no ReLU" in line for line in found.not_judged)


def test_rank_of_two_classes_or_two_images_decides_nothing():
    x = inputs = keras.Input((16,))
    x = layers.Dense(8, activation="relu", kernel_initializer="ones")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    images, _ = data(classes=2)
    assert judge(measure(model, images)).will_train is None
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


@pytest.mark.slow
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
