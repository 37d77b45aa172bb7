"""Quantization-aware fine-tuning: gradients by hand, kernels on the grid, and that it helps."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.deployment.quantization import round_weights, signal_to_noise_db
from dirac_keras.deployment.quantization.fake import fake_quantize
from dirac_keras.deployment.quantization.network import Network
from dirac_keras.deployment.quantization.simulation import Simulation
from dirac_keras.deployment.quantization.taps import Taps
from dirac_keras.deployment.quantization.training import finetune
from dirac_keras.deployment.quantization.training.kernels import GridKernel
from dirac_keras.deployment.quantization.training.straight_through import quantize_range, round_to_grid
from dirac_keras.deployment.quantization.training.student import Student
from dirac_keras.errors import RunError


def value_and_gradient(function, *values):
    """A function's outputs, and the gradient of their sum with respect to each value."""
    if keras.backend.backend() == "jax":
        import jax

        values = [ops.convert_to_tensor(value) for value in values]
        return np.asarray(function(*values)), [
            np.asarray(g)
            for g in jax.grad(lambda *v: ops.sum(function(*v)), argnums=tuple(range(len(values))))(*values)
        ]
    import tensorflow as tf

    values = [tf.constant(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = function(*values)
        total = ops.sum(outputs)
    return outputs.numpy(), [gradient.numpy() for gradient in tape.gradient(total, values)]


def test_rounding_passes_the_gradient_within_the_limits():
    values = np.array([-9.0, -1.2, 0.4, 0.6, 3.5, 9.0], "float32")
    rounded, (gradient,) = value_and_gradient(lambda v: round_to_grid(v, 7), values)
    np.testing.assert_array_equal(rounded, [-7, -1, 0, 1, 4, 7])  # a half goes to the even one
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 1, 0])


def test_a_tensor_is_rounded_within_its_range_and_zero_is_a_step():
    """Two bits from -1 to 3: steps of 4/3, and zero's place, 3/4 from the low end, becomes 1."""
    values = np.array([-5.0, -1.0, 0.0, 0.5, 2.1, 3.0], "float32")
    rounded, (gradient,) = value_and_gradient(lambda v: quantize_range(v, -1.0, 3.0, bits=2), values)
    np.testing.assert_allclose(rounded, np.array([-4, -4, 0, 0, 8, 8]) / 3, rtol=1e-6)
    np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(rounded, fake_quantize(values, -1.0, 3.0, bits=2))


def test_empty_range_leaves_a_tensor_as_it_is():
    values = np.array([-1.0, 2.0], "float32")
    rounded, (gradient,) = value_and_gradient(lambda v: quantize_range(v, 0.0, 0.0), values)
    np.testing.assert_array_equal(rounded, values)
    np.testing.assert_array_equal(gradient, [1, 1])


def test_gradient_of_a_kernel_on_its_grid():
    """Weights 1 and 0.3 in 4 bits: a step is 1/7, the integers are 7 and 2.1, rounded 2; x is (2, 5)."""
    layer = layers.Dense(1)
    layer.build((None, 2))
    layer.set_weights([np.array([[1.0], [0.3]]), np.array([0.5])])
    grid = GridKernel(layer, Taps(layer), bits=4, input_rms=3.0)
    x = np.array([[2.0, 5.0]], "float32")

    def output(latent, stretch, shift):
        pairs = [(grid.latent, latent), (grid.stretch, stretch), (grid.shift, shift)]
        with keras.StatelessScope(state_mapping=pairs):
            return ops.matmul(x, grid.kernel()) + grid.bias()

    given, gradients = value_and_gradient(output, *(np.array(v) for v in (grid.latent, grid.stretch, grid.shift)))
    np.testing.assert_allclose(given, [[2 * 1 + 5 * 2 / 7 + 0.5]], rtol=1e-6)
    np.testing.assert_allclose(gradients[0].ravel(), [0, 5 / 7], rtol=1e-6)  # the largest is fixed
    np.testing.assert_allclose(gradients[1].ravel(), [(2 * 7 + 5 * 2) / 7 / 7], rtol=1e-6)
    np.testing.assert_allclose(gradients[2].ravel(), [3 * np.sqrt(2) / 7], rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Dense(5), (6,)),
        (layers.Conv2D(4, 3), (5, 5, 6)),
        (layers.Conv2D(6, 3, groups=2), (5, 5, 4)),
        (layers.Conv1D(4, 3, use_bias=False), (5, 6)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 3)),
    ],
)
def test_a_kernel_starts_rounded_to_nearest(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    kernel = np.random.default_rng(0).normal(size=layer.kernel.shape)
    layer.kernel.assign(kernel)
    rounded, _ = round_weights(model, np.zeros((1, *shape)), bits=4, method="nearest")
    expected = np.asarray(rounded.layers[-1].kernel)
    grid = GridKernel(layer, Taps(layer), bits=4)
    # A product of float32 numbers against one of float64 numbers rounded to float32.
    np.testing.assert_allclose(np.asarray(ops.convert_to_numpy(grid.kernel())), expected, rtol=1e-6, atol=1e-7)
    grid.write(layer)
    np.testing.assert_array_equal(np.asarray(layer.kernel), expected)


def chain(seed=0, end=None):
    """A folded network with an identity beside the learned taps, as of a Dirac layer, and images for it."""
    random = np.random.default_rng(seed)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.ReLU(),
            layers.Conv2D(4, 3, padding="same", name="second"),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="head", activation=end),
        ]
    )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([0.1 * random.normal(size=weight.shape) for weight in layer.get_weights()])
    kernel = np.array(ops.convert_to_numpy(model.get_layer("second").kernel))
    kernel[1, 1] += np.eye(4)
    model.get_layer("second").kernel.assign(kernel)
    return model, random.normal(size=(128, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def finetuned():
    model, images = chain()
    before = model.get_weights()
    trained, report = finetune(model, images, bits=4, epochs=15, batch_size=32, start="nearest", activation_bits=None)
    return model, before, images, trained, report


def test_outputs_come_nearer_to_the_original(finetuned):
    model, _, images, trained, report = finetuned
    reference = model.predict(images, verbose=0)
    nearest, _ = round_weights(model, images, bits=4, method="nearest")
    start = signal_to_noise_db(reference, nearest.predict(images, verbose=0))
    end = signal_to_noise_db(reference, trained.predict(images, verbose=0))
    assert end > start + 3
    assert report.last_loss < report.first_loss
    # The report's figures are those of the models, so the trained network computes what the returned one does.
    assert report.start_db == pytest.approx(start, abs=0.01)
    assert report.db == pytest.approx(end, abs=0.01)
    assert (report.steps, report.layers) == (60, ("first", "second", "head"))


def test_kernels_are_on_the_grid_that_a_converter_finds(finetuned):
    _, _, images, trained, _ = finetuned
    for layer in trained.layers:
        if layer.weights:
            kernel = np.asarray(ops.convert_to_numpy(layer.kernel), "float64").reshape(-1, layer.kernel.shape[-1])
            integers = kernel / (np.abs(kernel).max(axis=0) / 7)
            np.testing.assert_allclose(integers, np.rint(integers), atol=1e-5)
    again, _ = round_weights(trained, images, bits=4, method="nearest")
    for one, other in zip(trained.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_model_itself_is_left_as_it_is(finetuned):
    model, before, _, trained, _ = finetuned
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [type(layer) for layer in trained.layers] == [type(layer) for layer in model.layers]
    assert trained.count_params() == model.count_params()


@pytest.mark.slow
def test_tensors_are_rounded_as_a_runtime_rounds_them():
    """At a rate that changes nothing, what is trained computes what the simulation of a runtime does."""
    model, images = chain()
    trained, report = finetune(model, images, bits=8, epochs=1, learning_rate=1e-12, start="nearest")
    reference = model.predict(images, verbose=0)
    simulation = Simulation(Network(model, images.shape[1:]), images, bits=8)
    for layer, other in zip(model.layers, trained.layers, strict=True):
        layer.set_weights(other.get_weights())
    simulated = simulation.db(reference, images)
    assert report.db == pytest.approx(simulated, abs=0.1)  # a half may fall to either side
    assert simulated < simulation.db(reference, images, kept=("first", "second", "head")) - 0.5, "tensors count"


def test_a_weight_that_is_free_stays_what_it_is_and_sets_no_scale():
    """Beside 5, which is free, 0.7 is the largest: a step is 0.1, and 0.31 becomes 3 of them."""
    layer = layers.Dense(1, use_bias=False)
    layer.build((None, 3))
    layer.set_weights([np.array([[5.0], [0.31], [0.7]])])
    grid = GridKernel(layer, Taps(layer), bits=4, free=np.array([[True], [False], [False]]))
    np.testing.assert_allclose(ops.convert_to_numpy(grid.kernel()), [[5.0], [0.3], [0.7]], rtol=1e-6)
    grid.latent.assign(grid.latent + 1.0)
    grid.write(layer)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), [[5.0], [0.4], [0.7]], rtol=1e-6)


@pytest.mark.slow
def test_layers_to_be_kept_stay_and_the_softmax_too():
    model, images = chain(end="softmax")
    kept = ("first",)
    trained, report = finetune(model, images, bits=4, epochs=2, start="nearest", kept=kept)
    for one, other in zip(
        trained.get_layer("first").get_weights(), model.get_layer("first").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert report.layers == ("second", "head") and report.left == {"first": "it was to be kept"}
    np.testing.assert_allclose(trained.predict(images, verbose=0).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_labels_are_learned_and_batches_are_read_again_in_each_epoch():
    model, images = chain()
    labels = np.argmax(model.predict(images, verbose=0), axis=1) // 2  # not what it says
    batches = [(images[at : at + 32], labels[at : at + 32]) for at in range(0, 128, 32)]
    options = {"bits": 8, "epochs": 4, "targets": "labels", "start": "nearest", "ranges": "moving"}
    _, report = finetune(model, batches, learning_rate=0.5, **options)
    assert report.steps == 16 and report.last_loss < report.first_loss - 0.01
    _, again = finetune(model, batches, learning_rate=0.5, **options)
    assert again == report, "nothing is left to chance"


def test_ranges_move_with_the_batches():
    model, _ = chain()
    network = Network(model)
    student = Student(network, limits={network.input: (-1.0, 3.0)}, range_momentum=0.75)
    batch = np.zeros((2, 6, 6, 2), "float32")
    batch[0, 0, 0] = (-5.0, 7.0)
    student(batch, training=False)
    np.testing.assert_allclose(np.array(student.ranges[str(network.input)]), [-1, 3])
    student(batch, training=True)
    np.testing.assert_allclose(np.array(student.ranges[str(network.input)]), [-2, 4])  # 3/4 of (-1, 3) + 1/4 of (-5, 7)


@pytest.mark.slow
def test_filter_of_zeros_stays_zero():
    model, images = chain()
    head = model.get_layer("head")
    kernel = np.array(ops.convert_to_numpy(head.kernel))
    kernel[:, 1] = 0
    head.kernel.assign(kernel)
    trained, _ = finetune(model, images, bits=4, epochs=1, learning_rate=2.0, start="nearest")
    assert not np.asarray(ops.convert_to_numpy(trained.get_layer("head").kernel))[:, 1].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "bits must be 8 or 4. Received bits=3"),
        ({"activation_bits": 7}, "activation_bits must be 8, 16 or None"),
        ({"epochs": 0}, "epochs must be a whole number above 0"),
        ({"batch_size": 0}, "batch_size must be a whole number above 0"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"targets": "teacher"}, "targets must be one of outputs, labels"),
        ({"start": "zero"}, "start must be one of nearest"),
        ({"ranges": "fixed"}, "ranges must be one of calibration, moving"),
        ({"kept": ("third",)}, "kept must name layers that are quantized: first, second, head. Received 'third'"),
        ({"kept": ("first", "second", "head")}, "which has none left"),
        ({"targets": "labels"}, "needs labels: dataset must be a pair"),
        ({"dataset": 7}, "dataset must be an array of images"),
        ({"dataset": []}, "dataset must have images"),
        (
            {"dataset": iter([np.zeros((4, 6, 6, 2))])},
            "must give its batches again in each epoch. Received a list_iterator",
        ),
        ({"dataset": (np.zeros((4, 6, 6, 2)), np.zeros(3))}, "a label for each image. Received 4 images and 3 labels"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(options, message):
    model, images = chain()
    options = {"start": "nearest", **options}
    with pytest.raises(ValueError, match=message):
        finetune(model, options.pop("dataset", images), **options)


def test_weights_that_are_no_numbers_are_refused():
    model, images = chain()
    model.get_layer("head").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="gives numbers that are not finite"):
        finetune(model, images, start="nearest")


def test_images_that_are_no_numbers_are_refused():
    model, images = chain()
    images = np.concatenate([images] * 5)
    images[-1] = np.inf  # behind what the ranges are read from
    with pytest.raises(ValueError, match="dataset must have images of finite numbers"):
        finetune(model, images, epochs=1, start="nearest")


@pytest.mark.slow
def test_loss_that_is_no_number_ends_it():
    model, images = chain()
    with pytest.raises(RunError, match=r"the loss became \w+ in step \d+. Lower `learning_rate`"):
        finetune(model, images, learning_rate=1e38, start="nearest", activation_bits=None)
