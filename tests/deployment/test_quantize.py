"""`quantize`: cures are tried and measured; the better is kept, on any graph."""

import json
import math

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import audit, calibration_set, quantize, signal_to_noise_db
from dirac_keras.deployment.quantization.bias import corrected_bias
from dirac_keras.deployment.quantization.fake import fake_quantize, quantized_tensors
from dirac_keras.deployment.quantization.grids import filter_scales
from dirac_keras.deployment.quantization.keeping import choose_kept, shares
from dirac_keras.deployment.quantization.network import Network, copy_of
from dirac_keras.deployment.quantization.rounding import round_network
from dirac_keras.deployment.quantization.taps import Taps
from tests.deployment.quantized_networks import branched, chain, images, random_weights


def outputs(model, given):
    return keras.ops.convert_to_numpy(model(given))


def integers(layer, bits):
    matrices = Taps(layer).matrices(keras.ops.convert_to_numpy(layer.kernel).astype("float64"))
    return [matrix / filter_scales(matrix, bits)[:, None] for matrix in matrices]


# The parts ------------------------------------------------------------------------------------------------
def test_a_grid_of_two_bits_by_hand():
    # From -1 to 3 in three steps of 4/3, of which one ends at 0: -4/3, 0, 4/3, 8/3.
    np.testing.assert_allclose(
        fake_quantize([-1.0, -0.5, 0.0, 0.5, 0.7, 2.5, 9.0], -1.0, 3.0, bits=2), [-4 / 3, 0, 0, 0, 4 / 3, 8 / 3, 8 / 3],
        rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(fake_quantize([0.0, 1.2], 1.0, 2.0, bits=1), [0.0, 2.0])  # 0 is always one of them


def test_tensors_that_hold_integers():
    x = inputs = keras.Input((6, 6, 3))
    x = keras.layers.ReLU(name="relu")(keras.layers.Conv2D(4, 3, name="fused")(x))
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.LeakyReLU(name="leaky")(keras.layers.Conv2D(4, 1, name="not_fused")(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Flatten(name="flat")(x)))
    network = Network(model)
    assert list(quantized_tensors(network).values()) == ["", "relu", "not_fused", "leaky", "head"]
    assert list(quantized_tensors(network, ["fused", "head"]).values()) == ["relu", "not_fused"]
    assert list(quantized_tensors(network, float_outputs=True).values()) == ["", "relu", "not_fused", "leaky"]
    # What an integer layer gives is rounded, whoever reads it; between two in float nothing is, the pooling included.
    assert list(quantized_tensors(network, ["not_fused"]).values()) == ["", "relu", "not_fused", "leaky", "head"]
    assert list(quantized_tensors(network, ["fused", "not_fused"]).values()) == ["not_fused", "leaky", "head"]
    assert list(quantized_tensors(network, ["fused", "not_fused", "head"]).values()) == []


def test_a_bias_takes_the_mean_error():
    # One filter of two taps, [1, 2], rounded to [1, 3]; the mean input is (10, 1), then (9, 1): 12 wanted, 12 given.
    bias = corrected_bias(np.array([0.5]), np.array([[[1.0, 2.0]]]), np.array([[10.0, 1.0]]), np.array([[[1.0, 3.0]]]),
                          np.array([[9.0, 1.0]]))  # fmt: skip
    np.testing.assert_allclose(bias, [0.5])
    bias = corrected_bias(np.array([0.5]), np.array([[[1.0, 2.0]]]), np.array([[10.0, 1.0]]), np.array([[[1.0, 2.0]]]),
                          np.array([[9.0, 1.0]]))  # fmt: skip
    np.testing.assert_allclose(bias, [1.5])


def test_layers_are_kept_by_what_they_take_away_for_their_cost_within_the_budget():
    noises, costs = {"a": 3.0, "b": 5.0, "c": 1.9, "d": 0.01}, {"a": 0.2, "b": 0.5, "c": 0.2, "d": 0.1}

    def noise(kept):
        return 0.09 + sum(noises[path] for path in noises if path not in kept)

    # 15 a share for a, 10 for b: but b alone takes more than a and c, which are all that fits beside a.
    (step,) = choose_kept(costs, 0.6, noise)
    assert (step.paths, step.share, step.gain) == (("b",), 0.5, pytest.approx(10 * math.log10(10 / 5)))
    assert [step.paths for step in choose_kept(costs, 0.45, noise)] == [("a",), ("c",)]
    assert [step.paths for step in choose_kept(costs, 1.0, noise)] == [("a",), ("b",), ("c",), ("d",)]
    assert [step.paths for step in choose_kept(costs, 1.0, noise, least_gain=1.0)] == [("a",), ("b",), ("c",)]
    assert choose_kept(costs, 0.05, noise) == ()


def test_neighbours_are_kept_together_where_one_alone_gains_nothing():
    """Of four layers in a row the noise is in the tensor between the second and the third."""
    costs = dict.fromkeys("abcd", 0.25)

    def noise(kept):
        return 1.0 if {"b", "c"} <= kept else 10.0

    assert [step.paths for step in choose_kept(costs, 0.5, noise)] == [("b", "c")]
    assert choose_kept(costs, 0.4, noise) == ()


def test_shares_by_hand():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(3, 1, use_bias=False, name="conv")(inputs)  # 6 weights, 96 multiply-accumulates
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = Network(keras.Model(inputs, keras.layers.Dense(4, use_bias=False, name="head")(x)))  # 12 and 12
    assert shares(network, "parameters", (4, 4, 2)) == {"conv": 1 / 3, "head": 2 / 3}
    assert shares(network, "macs", (4, 4, 2)) == {"conv": 96 / 108, "head": 12 / 108}


# The whole ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def quantized():
    """A chain with identity taps in 8 bits, with labels and two layers kept of which the budget allows."""
    model, given = chain(depth=4), images(96)
    labels = outputs(model, given).argmax(axis=-1)
    return model, given, *quantize(model, given, max_kept=0.3, labels=labels, cures=("bias", "data", "follow"))


def test_the_best_trial_is_chosen_and_all_are_reported(quantized):
    model, _, copy, report = quantized
    tried = [trial.cures for trial in report.trials]
    assert tried[:4] == [("nearest",), ("bias",), ("data",), ("follow",)]
    assert report.chosen in report.trials
    assert report.db == max(trial.db for trial in report.trials) > report.trials[0].db + 1
    fresh = images(64, seed=9)
    assert signal_to_noise_db(outputs(model, fresh), outputs(copy, fresh)) == pytest.approx(report.weights_db, abs=3)
    assert (report.images, report.held_out, report.accuracy_before) == (72, 24, 1.0)
    assert json.loads(json.dumps(report.to_dict()))["chosen"]["db"] == report.db
    assert "follow" in str(report)


def test_kernels_are_on_the_grid_but_those_that_are_kept(quantized):
    _, _, copy, report = quantized
    assert 0 < report.kept_share <= 0.3
    assert [path for step in report.kept_steps for path in step.paths] == list(report.kept)
    for path in ("conv0", "conv1", "conv2", "conv3", "head"):
        layer = copy.get_layer(path)
        if path in report.kept:
            whole = np.concatenate([matrix.reshape(-1) for matrix in integers(layer, 8)])
            assert np.abs(whole - np.rint(whole)).max() > 0.4
        else:
            for matrix in integers(layer, 8):
                np.testing.assert_allclose(matrix, np.rint(matrix), atol=1e-4)
                np.testing.assert_allclose(np.abs(matrix).max(axis=1), 127, atol=1e-4)


def test_a_layer_that_is_kept_makes_good_what_those_below_changed():
    model, given = chain(depth=3), images(64)
    reference = outputs(model, given)
    figures = {}
    for method in ("nearest", "follow"):
        copy = copy_of(model)
        layers = round_network(Network(model), Network(copy), given, 4, method, kept=("conv2", "head"))
        assert [layer.name for layer in layers] == ["conv0", "conv1"]
        figures[method] = signal_to_noise_db(reference, outputs(copy, given))
        same = [np.array_equal(a, b) for a, b in zip(copy.get_weights(), model.get_weights(), strict=True)]
        assert same[4:] == [method == "nearest"] * 4  # kernels and biases of the two that are kept
    assert figures["follow"] > figures["nearest"] + 3


def test_ranges_are_the_least_and_the_largest_numbers_of_the_images_fitted_to(quantized):
    model, given, copy, report = quantized
    given = calibration_set(given, model).split()[0].images
    assert report.ranges[""] == (given.min(), given.max())
    whole = outputs(keras.Model(copy.input, copy.get_layer("conv1").output), given)
    np.testing.assert_allclose(report.ranges["conv1"], (whole.min(), whole.max()), rtol=1e-5)


def test_the_model_itself_is_not_changed():
    model = chain(depth=1)
    before = model.get_weights()
    quantize(model, images(32), cures=())
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_branches_shared_layers_nested_models_and_a_softmax():
    model = branched()
    copy, report = quantize(model, images(48), cures=("follow", "equalize_weights", "identity_apart"))
    assert [layer.name for layer in report.layers] == ["twice", "depthwise", "nested/inside", "head"]
    assert report.trials[0].weights_db > 30  # of the logits: of probabilities it would be far more
    assert not report.left
    assert "equalize_weights: no two layers between which channels can be scaled" in report.notes
    for layer in (copy.get_layer("twice"), copy.get_layer("depthwise"), copy.get_layer("nested").layers[-1]):
        for matrix in integers(layer, 8):
            np.testing.assert_allclose(matrix, np.rint(matrix), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["activation", "layer", "op", "none"])
def test_one_number_is_the_logit_of_the_second_class_with_a_sigmoid_or_without(how):
    """The class is told by the logit's sign: a probability is above 0 always."""
    inputs = keras.Input((6, 6, 8))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    x = keras.layers.Dense(1, activation="sigmoid" if how == "activation" else None, name="head")(x)
    if how != "none":
        x = {"activation": lambda y: y, "layer": keras.layers.Activation("sigmoid"), "op": keras.ops.sigmoid}[how](x)
    model, given = random_weights(keras.Model(inputs, x)), images(64)
    model.get_layer("head").bias.assign([0.0])
    labels = (outputs(model, given)[:, 0] > (0 if how == "none" else 0.5)).astype(int)
    assert 0 < labels.mean() < 1
    _, report = quantize(model, given, labels=labels, cures=())
    assert report.accuracy_before == 1.0 and 0.9 <= report.chosen.accuracy == report.chosen.agreement
    if how == "none":
        tuning = {"targets": "labels", "dataset": (given, labels), "epochs": 2}
        _, report = quantize(model, given, bits=4, labels=labels, cures=(), finetuning=tuning)
        assert report.trials[-1].cures == ("nearest", "finetune") and np.isfinite(report.trials[-1].db)


@pytest.mark.slow
def test_fine_tuning_comes_last_and_is_kept_if_it_gains():
    model, given = chain(depth=2), images(64)
    options = {"bits": 4, "cures": (), "max_kept": 0.05, "activation_bits": None}
    copy, report = quantize(model, given, **options, finetuning={"epochs": 20, "batch_size": 16})
    assert report.cures == ("nearest", "finetune") and report.kept == ("head",)
    rounded, _, tuned = report.trials
    assert tuned.db > rounded.db + 1 and tuned == report.chosen
    for layer in report.layers:
        for matrix in integers(copy.get_layer(layer.name), 4):
            np.testing.assert_allclose(matrix, np.rint(matrix), atol=1e-4)
    _, useless = quantize(model, given, **options, finetuning={"epochs": 1, "learning_rate": 1e-9})
    assert useless.cures == ("nearest",) and len(useless.trials) == 3


@pytest.mark.slow
def test_an_identity_in_float_leaves_the_grid_to_the_learned_taps():
    """In four bits: a tap of 1 beside some of 0.03 leaves them a fifth of a step; without it they have seven."""
    model, given = chain(depth=3), images(64)
    options = {"bits": 4, "cures": ("follow",), "activation_bits": None}
    copy, report = quantize(model, given, **options, identity_in_float=True)
    assert report.identity_in_float == ("conv0", "conv1", "conv2")
    assert "identity taps in float: in 3 layers" in str(report)
    kernel = keras.ops.convert_to_numpy(copy.get_layer("conv1").kernel).astype("float64").copy()
    identity = np.diagonal(kernel[1, 1]).copy()
    kernel[1, 1][np.diag_indices(8)] = 0
    whole = kernel.reshape(-1, 8) / (np.abs(kernel).reshape(-1, 8).max(axis=0) / 7)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-4)
    assert np.abs(identity).min() > 4 * np.abs(kernel).max() / 7
    assert report.db > quantize(model, given, **options)[1].db + 5
    _, both = quantize(model, given, bits=4, cures=("identity_apart",), identity_in_float=True)
    assert both.cures == ("nearest",) and any("which needs no branches" in note for note in both.notes)


def test_the_identity_apart_is_tried_on_request_and_wins_in_four_bits():
    model = chain(depth=3)
    copy, report = quantize(model, images(64), bits=4, cures=("data", "identity_apart"))
    assert report.cures == ("identity_apart", "data")
    assert copy.get_layer("conv1_identity") is not None


def test_what_is_not_quantized_is_named():
    x = inputs = keras.Input((6, 6, 3))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv2D(3, 3, name="conv")(x))
    x = keras.layers.Conv2DTranspose(3, 2, name="up")(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    _, report = quantize(model, images(24, channels=3), cures=())
    assert report.left == {
        "bn": "BatchNormalization: fold the model first",
        "up": "Conv2DTranspose is not quantized here",
    }
    assert "not quantized: up" in str(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 6}, r"bits must be 8 or 4, which the runtimes have\. Received bits=6"),
        ({"bits": True}, "bits must be 8 or 4"),
        ({"activation_bits": 4}, r"activation_bits must be 8, 16 or None\. Received activation_bits=4"),
        ({"cures": ("gptq",)}, r"among bias, data, follow, .*\. Received cures=\('gptq',\)"),
        ({"cures": "best"}, 'cures must be "auto" or a tuple'),
        ({"max_kept": 1.5}, r"max_kept must be a share from 0 to 1\. Received max_kept=1\.5"),
        ({"kept_of": "bytes"}, r"kept_of must be one of parameters, macs\. Received kept_of='bytes'"),
        ({"images": images(4)}, "calibration needs at least 16 images"),
        ({"finetuning": {"bits": 4}}, r"finetuning takes the arguments of `finetune` but .*Received \['bits'\]"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        quantize(chain(depth=1), **{"images": images(24), **options})


def test_models_that_cannot_be_quantized():
    model = chain(depth=1)
    model.get_layer("head").bias.assign([0, np.nan, 0, 0])
    with pytest.raises(ValueError, match=r"not finite .* cannot be quantized: head/bias \(1 of 4\)"):
        quantize(model, images(24))
    with pytest.raises(ValueError, match=r"head/bias \(1 of 4\)"):
        audit(model, images(24))
    inputs = [keras.Input((4,), name="left"), keras.Input((4,), name="right")]
    two = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()(inputs)))
    with pytest.raises(ValueError, match="model must have one input"):
        quantize(two, np.zeros((24, 4)))
