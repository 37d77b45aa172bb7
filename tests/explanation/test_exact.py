"""Explanations of networks whose answer is known by hand."""

import keras
import numpy as np
import pytest

import dirac_keras
from dirac_keras.explanation.result import predicted_of
from tests.explanation.networks import QUICK, convolutional, images, linear, randomized

ROUNDING = dict(rtol=1e-4, atol=1e-5)  # float32, sums of a hundred products


def kernel_of(model, target, shape):
    return model.get_layer("head").get_weights()[0][:, target].reshape(shape)


def test_integrated_gradients_of_a_linear_network_are_weight_times_difference():
    model, x = linear(), images(2, 6, 2)
    for baseline in (0.0, images(2, 6, 2, seed=1)):
        found = dirac_keras.explain(model, x, "integrated_gradients", target=1, baseline=baseline, steps=3)
        expected = kernel_of(model, 1, (6, 6, 2)) * (x - baseline)
        np.testing.assert_allclose(found.attributions, expected, **ROUNDING)
        np.testing.assert_allclose(found.maps, expected.sum(axis=-1), **ROUNDING)
        np.testing.assert_allclose(found.gaps, 0.0, atol=1e-5)


def test_attributions_of_a_square_follow_the_trapezoid_rule():
    """f(x) = x^2 from 0 to x: the gradient 2 x a is linear in a, so the trapezoid rule with one part is exact: x^2."""
    inputs = keras.Input((2, 2, 1))
    x = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.ops.sum(x * x, axis=-1, keepdims=True))
    x = images(1, 2, 1)
    found = dirac_keras.explain(model, x, "integrated_gradients", steps=1, task="values")
    np.testing.assert_allclose(found.attributions, x**2, rtol=1e-5)
    assert found.differences[0] == pytest.approx(float((x**2).sum()), rel=1e-5)


def test_steps_double_until_the_attributions_are_complete():
    """f = relu(100 x - 99): on the way from 0 to 1 its slope is 100 behind 0.99 and 0 before.

    The trapezoid rule gives 0.78 with 64 parts, 1.17 with 128 and (1 + 1 + 1/2) 100 / 256 = 0.977 with 256: within 5 %.
    An image of 0 has nothing to miss.
    """
    inputs = keras.Input((1, 1, 1))
    head = keras.layers.Dense(1, activation="relu", name="head")
    model = keras.Model(inputs, head(keras.layers.Flatten()(inputs)))
    head.set_weights([np.array([[100.0]]), np.array([-99.0])])
    x = np.array([1.0, 0.0], "float32").reshape(2, 1, 1, 1)
    found = dirac_keras.explain(model, x, "integrated_gradients", task="values")
    assert found.settings["steps"] == [256, 64]
    np.testing.assert_allclose(found.attributions.ravel(), [2.5 * 100 / 256, 0.0], rtol=1e-4)


def test_a_cube_misses_completeness_by_what_the_trapezoid_rule_adds(caplog):
    """f = x^3 for x = 1: the trapezoid rule with two parts gives (0/2 + 3/4 + 3/2) / 2 = 1.125 where 1 is exact."""
    inputs = keras.Input((1, 1, 1))
    x = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, x * x * x)
    found = dirac_keras.explain(model, np.ones((1, 1, 1, 1)), "integrated_gradients", steps=2, task="values")
    assert found.attributions.item() == pytest.approx(1.125, abs=1e-6)
    assert found.gaps[0] == pytest.approx(0.125, abs=1e-6) and found.incompleteness(0) == pytest.approx(0.125, abs=1e-6)
    assert "give more `steps` than 2" in caplog.text


def test_grad_cam_behind_global_pooling_and_dense_is_cam_up_to_the_relu():
    """CAM: sum over channels of the dense kernel times the maps. The gradient of the mean over Z positions is w / Z."""
    model, x = convolutional(), images()
    found = dirac_keras.explain(model, x, target=[0, 1, 3])
    maps = keras.Model(model.input, model.get_layer("last").output).predict(x, verbose=0)
    weights = model.get_layer("head").get_weights()[0][:, [0, 1, 3]]
    cam = np.einsum("nijk,kn->nij", maps, weights) / 16
    assert found.layer == "last" and (cam < 0).any() and (cam > 0).any()
    np.testing.assert_allclose(found.coarse, np.maximum(cam, 0), **ROUNDING)


def test_a_grad_cam_map_is_enlarged_between_centres_of_positions():
    """Rows 0 and 1 of two positions become 0, 1/4, 3/4, 1: pixel centres at -1/4, 1/4, 3/4, 5/4 of a position."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(1, 2, strides=2, use_bias=False, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(keras.layers.Flatten()(x)))
    model.layers[1].set_weights([np.full((2, 2, 1, 1), 0.25)])
    model.layers[-1].set_weights([np.array([[1.0, 0.0]] * 4)])
    x = np.zeros((1, 4, 4, 1), "float32")
    x[:, 2:] = 1.0
    found = dirac_keras.explain(model, x, target=0)
    np.testing.assert_allclose(found.coarse[0], [[0, 0], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(found.maps[0, :, 0], [0, 0.25, 0.75, 1], atol=1e-6)


def test_occlusion_of_a_linear_network_is_the_sum_of_weight_times_difference_under_the_window():
    model, x = linear(), images(2, 6, 2)
    found = dirac_keras.explain(model, x, "occlusion", target=2, window=3, stride=3, baseline=0.5)
    products = (kernel_of(model, 2, (6, 6, 2)) * (x - 0.5)).sum(axis=-1)
    sums = products.reshape(2, 2, 3, 2, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(found.coarse, sums, **ROUNDING)
    np.testing.assert_allclose(found.maps, np.repeat(np.repeat(sums, 3, 1), 3, 2), **ROUNDING)


def test_windows_of_occlusion_reach_the_border_and_pixels_average_over_theirs():
    """Side 6, window 3, stride 2 along the width: windows at 0 and 2, and at 3, which ends at the border."""
    model, x = linear(6, 1), images(1, 6, 1)
    found = dirac_keras.explain(model, x, "occlusion", target=0, window=(6, 3), stride=(1, 2))
    columns = (kernel_of(model, 0, (6, 6, 1)) * x[0]).sum(axis=(0, 2))
    first, second, third = columns[:3].sum(), columns[2:5].sum(), columns[3:].sum()
    np.testing.assert_allclose(found.coarse[0], [[first, second, third]], **ROUNDING)
    means = [first, first, (first + second) / 2, (second + third) / 2, (second + third) / 2, third]
    np.testing.assert_allclose(found.maps[0, 0], means, **ROUNDING)


@pytest.mark.parametrize("method", QUICK)
def test_the_score_is_in_front_of_the_softmax_wherever_that_stands(method):
    x, bare = images(), convolutional()
    expected = dirac_keras.explain(bare, x, method, target=1, **QUICK[method])
    weights = bare.get_weights()
    ends = {
        "activation": convolutional(activation="softmax"),
        "layer": keras.Sequential([convolutional(name="inner"), keras.layers.Softmax()]),
        "operation": keras.Model(bare.input, keras.ops.softmax(bare.output)),
        "sigmoid": convolutional(activation="sigmoid"),
        "log": convolutional(activation="log_softmax"),
    }
    for name, model in ends.items():
        model.set_weights(weights)
        found = dirac_keras.explain(model, x, method, target=1, **QUICK[method])
        assert found.is_score, name
        np.testing.assert_allclose(found.maps, expected.maps, **ROUNDING, err_msg=name)
        np.testing.assert_allclose(found.scores, expected.scores, **ROUNDING, err_msg=name)
    assert ends["activation"].get_layer("head").activation is keras.activations.softmax  # the model is as it was


def test_one_unit_is_the_second_of_two_classes():
    x, model = images(), convolutional(classes=1, activation="sigmoid")
    second = dirac_keras.explain(model, x, "occlusion", target="dog", class_names=["cat", "dog"], window=4)
    first = dirac_keras.explain(model, x, "occlusion", target=0, window=4)
    np.testing.assert_allclose(first.maps, -second.maps, **ROUNDING)
    np.testing.assert_allclose(second.probabilities, model.predict(x, verbose=0)[:, 0], **ROUNDING)
    np.testing.assert_allclose(np.add(first.probabilities, second.probabilities), 1.0, rtol=1e-6)
    likely = dirac_keras.explain(model, x, "occlusion", window=4)
    assert likely.predicted == likely.targets == tuple(int(p > 0.5) for p in second.probabilities)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_of_labels_is_one_label(activation):
    x, model = images(), convolutional(classes=1, activation=activation)
    outputs = model.predict(x, verbose=0)[:, 0]
    logits, likely = (np.log(outputs / (1 - outputs)), outputs) if activation else (outputs, 1 / (1 + np.exp(-outputs)))
    found = dirac_keras.explain(model, x, "occlusion", class_names=["dog"], task="labels", window=4)
    assert found.predicted == found.targets == (0,) * len(x) and found.names == ("dog",)
    np.testing.assert_allclose(found.scores, logits, **ROUNDING)
    np.testing.assert_allclose(found.probabilities, likely, **ROUNDING)
    as_class = dirac_keras.explain(model, x, "occlusion", target=1, window=4)
    np.testing.assert_allclose(found.maps, as_class.maps, **ROUNDING)  # of the second class: the unit's own sign


def test_labels_have_a_probability_each_and_values_have_none():
    x, model = images(), convolutional()
    logits = model.predict(x, verbose=0)
    labels = dirac_keras.explain(model, x, target=2, task="labels")
    np.testing.assert_allclose(labels.probabilities, 1 / (1 + np.exp(-logits[:, 2])), **ROUNDING)
    classes = dirac_keras.explain(model, x, target=2)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classes.probabilities, shares[:, 2], **ROUNDING)
    assert dirac_keras.explain(model, x, target=2, task="values").probabilities is None


def test_of_several_values_none_is_likelier_and_the_prediction_is_the_number():
    x, model = images(), convolutional()
    with pytest.raises(ValueError, match="target must name one of the 4 values, none of which is likelier: a, b"):
        dirac_keras.explain(model, x, task="values", class_names=list("abcd"))
    found = dirac_keras.explain(model, x, target="c", task="values", class_names=list("abcd"))
    record = found.record(1)
    assert record["predicted"] == pytest.approx(float(model.predict(x, verbose=0)[1, 2]), rel=1e-4)
    assert record["predicted_index"] is None and predicted_of(record) == f"{record['score']:.4g}"
    assert dirac_keras.explain(model, x, target=2).record(1)["predicted"] in ("0", "1", "2", "3")


def test_a_mixture_of_softmaxes_has_no_score_and_its_output_is_explained(caplog):
    one, other, x = convolutional(activation="softmax"), linear(8, 3, 4, "softmax"), images()
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Average()([one(inputs), other(inputs)]))
    found = dirac_keras.explain(model, x, "occlusion", target=0, window=8, baseline=0.25)
    grey = np.full_like(x, 0.25)
    expected = (model.predict(x, verbose=0) - model.predict(grey, verbose=0))[:, 0]
    np.testing.assert_allclose(found.coarse[:, 0, 0], expected, **ROUNDING)
    assert not found.is_score and "its output itself is explained" in caplog.text


def test_a_target_of_which_nothing_depends_on_the_image_has_maps_of_zeros():
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    model = randomized(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    model.layers[-1].set_weights([np.zeros((2, 2)), np.ones(2)])
    for method, options in QUICK.items():
        assert not dirac_keras.explain(model, images(2, 4, 1), method, **options).maps.any(), method
