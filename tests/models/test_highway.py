import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.models import build_highway
from dirac_keras.training.optimization.optimizers import is_kernel
from tests.network_checks import branches, check_network, images_for, outputs_of, randomize, trainable_parameters

SMALL = {
    "dense": {"layout": "dense", "depth": 3, "units": 6, "input_shape": (4, 4, 1)},
    "conv": {"layout": "conv", "depth": 7, "width": 0.125, "input_shape": (8, 8, 3)},
}


def test_layer_by_hand():
    """One unit, x = 2, H = relu(3 x) = 6, T = sigmoid(-ln 3) = 1/4: y = 6/4 + 2 * 3/4 = 3."""
    model = build_highway(
        depth=1, units=1, num_classes=2, input_shape=(1,), gate_bias=-float(np.log(3)), normalization=None
    )
    model.get_layer("dense1").set_weights([np.array([[1.0]]), np.zeros(1)])
    model.get_layer("dense2").set_weights([np.array([[3.0]]), np.zeros(1)])
    model.get_layer("dense2_gate").kernel.assign([[0.0]])
    model.get_layer("head_dense").set_weights([np.array([[1.0, 0.0]]), np.zeros(2)])
    np.testing.assert_allclose(outputs_of(model, np.array([[2.0]])), [[3.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("layout", SMALL)
def test_closed_gates_pass_the_input_on_and_open_ones_give_the_plain_net(layout):
    """sigmoid(-50) is 2e-22 and sigmoid(50) is 1 in float32, whatever the gates' kernels make of inputs of order 1."""
    model, plain = build_highway(**SMALL[layout]), build_highway(skips=False, **SMALL[layout])
    randomize(model)
    gates = [layer for layer in model.layers if layer.name.endswith("_gate")]
    for gate in gates:
        gate.kernel.assign(np.zeros(gate.kernel.shape))
        gate.bias.assign(np.full(gate.bias.shape, 50.0))
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    images = images_for(model)
    expected = outputs_of(plain, images)
    assert np.abs(outputs_of(model, images) - expected).max() <= 1e-5 * np.abs(expected).max()

    for gate in gates:
        gate.bias.assign(np.full(gate.bias.shape, -50.0))
    first, last = ("dense1_relu", "dense4_add") if layout == "dense" else ("group3_conv1_relu", "group3_conv2_add")
    ends = [model.get_layer(name).output for name in (first, last)]
    before, behind = keras.Model(model.input, ends)(images)
    np.testing.assert_allclose(ops.convert_to_numpy(behind), ops.convert_to_numpy(before), atol=1e-6)


@pytest.mark.parametrize(("layout", "bias"), [("dense", -1.0), ("conv", -2.0)])
def test_gates_start_where_the_authors_start_them(layout, bias):
    model = build_highway(**SMALL[layout])
    gates = [layer for layer in model.layers if layer.name.endswith("_gate")]
    assert len(gates) == 3
    assert all(np.all(ops.convert_to_numpy(gate.bias) == bias) for gate in gates)
    gate = build_highway(gate_bias=-3.5, **SMALL[layout]).get_layer(gates[0].name)
    assert np.all(ops.convert_to_numpy(gate.bias) == -3.5)


def test_19_layers_have_the_parameters_of_the_authors_network():
    """2.3 M in their CIFAR network (`examples/highways/cifar10-19layers` of their code), without BatchNormalization."""
    model = build_highway("conv", input_shape=(32, 32, 3), normalization=None)
    assert round(trainable_parameters(model) / 1e6, 1) == 2.3
    kernels = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
    assert len([name for name in kernels if not name.endswith("_gate")]) == 19


def test_dense_parameters_by_hand():
    """4 inputs, 3 units, 2 highway layers, 2 classes; a highway layer has two matrices."""
    options = {"depth": 2, "units": 3, "num_classes": 2, "input_shape": (4,)}
    assert trainable_parameters(build_highway(normalization=None, **options)) == 15 + 2 * 2 * 12 + 8
    assert trainable_parameters(build_highway(**options)) == 15 + 2 * 2 * 12 + 8 + 3 * 2 * 3
    assert trainable_parameters(build_highway(skips=False, **options)) == 15 + 2 * 12 + 8 + 3 * 2 * 3


@pytest.mark.slow
@pytest.mark.parametrize("layout", SMALL)
@pytest.mark.parametrize("skips", [True, False], ids=["skips", "plain"])
def test_network_does_all_that_a_network_must(layout, skips, tmp_path):
    check_network(lambda: build_highway(num_classes=4, skips=skips, **SMALL[layout]), tmp_path, joins=skips)


def test_weight_decay_is_not_on_the_gates_biases():
    model = build_highway(**SMALL["dense"])
    decayed = {weight.path for weight in model.trainable_weights if is_kernel(weight)}
    assert decayed == {f"{layer.name}/kernel" for layer in model.layers if hasattr(layer, "kernel")}
    assert "dense2_gate/kernel" in decayed and "dense2_gate/bias" not in decayed


def test_layers_are_named_by_position():
    names = [layer.name for layer in build_highway(**SMALL["dense"]).layers]
    assert names[:5] == ["images", "flatten", "dense1", "dense1_bn", "dense1_relu"]
    assert set(branches(build_highway(**SMALL["conv"]))) == {
        f"group{group}_conv2_{part}" for group in (1, 2, 3) for part in ("change", "gated", "add")
    }
    names = [layer.name for layer in build_highway(**SMALL["conv"]).layers]
    assert [name for name in names if name.endswith("_pool")] == ["group2_pool", "group3_pool", "head_pool"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "conv50"}, r"layout must be one of dense, conv. Received layout='conv50'"),
        ({"layout": "conv", "depth": 20}, r"depth must be 3 N \+ 4 for layout='conv'.*the nearest are 19 and 22"),
        ({"layout": "conv", "depth": 4}, r"Received depth=4; the nearest are 7 and 10"),
        ({"depth": 0}, r"depth must be a whole number above 0. Received depth=0"),
        ({"units": 0}, r"units must be a whole number above 0"),
        ({"width": -1}, r"width must be a number above 0. Received width=-1"),
        ({"num_classes": 0}, r"num_classes must be a whole number above 0"),
        ({"gate_bias": "x"}, r"gate_bias must be a finite number. Received gate_bias='x'"),
        ({"gate_bias": float("nan")}, r"gate_bias must be a finite number. Received gate_bias=nan"),
        ({"kernel_initializer": "he"}, r"kernel_initializer must be a Keras initializer"),
        ({"input_shape": 784}, r"input_shape must be a tuple of whole numbers"),
        ({"layout": "conv", "input_shape": (3, 3, 1)}, r"at least 4 x 4 pixels"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_highway(**arguments)
