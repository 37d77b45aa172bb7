"""Spectra, conditions of weights and gradients, against numbers worked by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.diagnostics import CURVES, collect_responses, measure, plot_depth, plot_responses
from dirac_keras.diagnostics.activations import ActivationMoments
from dirac_keras.diagnostics.gradients import check_labels, crossentropy
from dirac_keras.diagnostics.spectrum import StreamedSpectrum, effective_rank
from dirac_keras.diagnostics.taps import Activation
from dirac_keras.diagnostics.weights import condition_number, measure_weights
from dirac_keras.graph.drawing import Reservoir
from dirac_keras.layers import DiracConv2D, DiracDense


def chain(input_shape, *parts):
    x = inputs = keras.Input(input_shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def spectrum(matrix, **options):
    """Of `(units, samples)`, in blocks of 7 samples."""
    rows = np.asarray(matrix, "float64").T[:, None, :]
    streamed = StreamedSpectrum(rows.shape[-1], **options)
    for start in range(0, len(rows), 7):
        streamed.update(rows[start : start + 7])
    return streamed.result()


# Moments ----------------------------------------------------------------------------------------------------
def test_moments_are_stable_where_squares_would_cancel():
    """At a mean of 1e6 the difference of mean square and squared mean keeps 4 digits of float64."""
    rows = 1e6 + normal(1000, 3)
    moments = ActivationMoments(Activation("linear"))
    for start in range(0, 1000, 33):
        moments.update(rows[start : start + 33])
    found = moments.result()
    assert found.std == pytest.approx(rows.std(), rel=1e-9)
    assert found.mean == pytest.approx(rows.mean(), rel=1e-14)


def test_moments_sum_bfloat16_numbers_in_float64():
    """A float32 sum of 2^24 ones and more stops growing."""
    moments = ActivationMoments(Activation("linear"))
    rows = np.ones((2**22, 1), "float32")
    for _ in range(5):
        moments.update(rows)
    assert moments.result().mean_absolute == 1.0 and moments.absolute[0] == 5 * 2**22


# Spectrum ---------------------------------------------------------------------------------------------------
def test_singular_values_of_a_diagonal():
    found = spectrum(np.diag([4.0, 2.0, 1.0]))
    np.testing.assert_allclose(found.singular_values, [4.0, 2.0, 1.0], rtol=1e-14)
    assert found.rank == 3 and found.condition_number == pytest.approx(4.0, rel=1e-14)
    shares = np.array([4, 2, 1]) / 7
    assert found.effective_rank == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))


def test_streamed_singular_values_are_those_of_the_whole():
    matrix = normal(20, 3000)  # more than one block of 256 rows
    found = spectrum(matrix)
    np.testing.assert_allclose(found.singular_values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-12)


def test_small_singular_values_survive_that_a_gram_matrix_loses():
    """1e-12 of the largest: its square, 1e-24, is far below float64's epsilon."""
    u = np.linalg.qr(normal(400, 3))[0]
    matrix = (u * [1.0, 1e-6, 1e-12]).T
    found = spectrum(matrix, epsilon=2.0**-52)
    np.testing.assert_allclose(found.singular_values, [1.0, 1e-6, 1e-12], rtol=1e-3)
    assert found.rank == 3


def test_duplicated_units_lower_the_rank():
    """5 units of which two are the first again: rank 3; of 10 pairs the 3 among the equal ones are collinear."""
    rows = normal(3, 200)
    found = spectrum(np.stack([*rows, rows[0], -2 * rows[0]]))
    assert found.rank == 3 and found.condition_number == np.inf
    assert found.collinear_pairs == 3 / 10


def test_units_that_depend_up_to_float32_rounding_are_dependent():
    """300 units of rank 100 by a float32 product: rounding alone makes the other 200 singular values."""
    product = normal(400, 100).astype("float32") @ normal(100, 300, seed=1).astype("float32")
    assert np.linalg.svd(product.astype("float64"), compute_uv=False)[-1] > 0
    assert spectrum(product.T).rank == 100


def test_dead_units_are_in_no_pair():
    found = spectrum([[0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4], [1, 0, 0, 0], [2, 0, 0, 0]])
    assert found.zero_units == 0.4 and found.collinear_pairs == pytest.approx(1 / 3)
    assert found.condition_number is None  # 4 samples of 5 units


def test_all_zero_responses():
    found = spectrum(np.zeros((2, 10)))
    assert (found.rank, found.effective_rank, found.collinear_pairs) == (0, 0.0, None)
    assert found.condition_number == np.inf


def test_effective_rank_of_equal_singular_values_is_their_number():
    assert effective_rank(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_rank([5.0, 0.0]) == pytest.approx(1.0)


def test_large_layers_are_sampled_and_say_so():
    found = spectrum(normal(30, 100), max_units=10)
    assert found.units_sampled and found.units == 10 and found.rank == 10
    assert not spectrum(normal(10, 100), max_units=10).units_sampled


def test_positions_are_sampled_the_same_for_every_block():
    responses = normal(50, 100, 4)
    whole, blocks = (StreamedSpectrum(4, positions_per_sample=16) for _ in range(2))
    whole.update(responses)
    for start in range(0, 50, 3):
        blocks.update(responses[start : start + 3])
    assert whole.result().positions_sampled and whole.result().samples == 50 * 16
    np.testing.assert_allclose(blocks.result().singular_values, whole.result().singular_values, rtol=1e-12)


# Weights ----------------------------------------------------------------------------------------------------
def test_condition_number_of_a_diagonal_is_its_extremes():
    assert condition_number(np.diag([8.0, -2.0, 4.0])) == pytest.approx(4.0)


def test_condition_number_is_in_the_infinity_norm():
    """[[1, 2], [0, 1]]: row sums 3; the inverse [[1, -2], [0, 1]] too."""
    assert condition_number([[1.0, 2.0], [0.0, 1.0]]) == pytest.approx(9.0)


def test_condition_number_of_a_rectangle_uses_the_pseudo_inverse():
    """[1 2]: norm 3, pseudo-inverse [0.2, 0.4]^T: norm 0.4. As a column: norm 2, then 0.6."""
    assert condition_number([[1.0, 2.0]]) == pytest.approx(1.2)
    assert condition_number([[1.0], [2.0]]) == pytest.approx(1.2)
    matrix = normal(4, 9)
    inverse = np.linalg.pinv(matrix)
    assert condition_number(matrix) == pytest.approx(np.abs(matrix).sum(1).max() * np.abs(inverse).sum(1).max())


def test_condition_number_of_dependent_rows_is_infinite():
    assert condition_number([[1.0, 2.0], [2.0, 4.0]]) == np.inf
    assert condition_number(np.zeros((2, 3))) == np.inf


def test_blocks_are_one_block_diagonal_matrix():
    blocks = normal(2, 2, 3)
    whole = np.zeros((4, 6))
    whole[:2, :3], whole[2:, 3:] = blocks
    assert condition_number(blocks) == pytest.approx(condition_number(whole))


def of_layer(layer, shape, kernel=None):
    layer.build((None, *shape))
    if kernel is not None:
        layer.kernel.assign(kernel)
    return measure_weights(layer)[0]


def test_rows_of_a_dense_layers_matrix_are_its_units():
    """Kernel (2 inputs, 1 unit): the filter (3, 4) has norm 5; W = [3 4] has infinity norm 7."""
    found = of_layer(layers.Dense(1), (2,), [[3.0], [4.0]])
    assert (found.units, found.inputs, found.filter_norm_max) == (1, 2, 5.0)
    kernel = normal(3, 3).astype("float32")
    expected = np.linalg.cond(kernel.T.astype("float64"), np.inf)
    assert of_layer(layers.Dense(3), (3,), kernel).condition_number == pytest.approx(expected)


CONVOLUTIONS = {
    "conv": (lambda: layers.Conv2D(4, 3), (5, 5, 2), 4, 18),
    "grouped": (lambda: layers.Conv2D(4, 3, groups=2), (5, 5, 2), 4, 18),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 3), 6, 27),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3), (5, 5, 2), 4, 18),
    "separable": (lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2), (5, 5, 2), 4, 18),
    "one_dimensional": (lambda: layers.Conv1D(4, 3), (5, 2), 4, 6),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_are_measured_as_the_matrix_of_their_filters(case):
    make, shape, units, inputs = CONVOLUTIONS[case]
    found = of_layer(make(), shape)
    assert (found.units, found.inputs) == (units, inputs)
    assert 1 <= found.condition_number < np.inf


@pytest.mark.parametrize("case", ["grouped", "depthwise", "separable"])
def test_a_structured_convolution_is_measured_as_the_dense_one_that_does_the_same(case):
    """The dense kernel is read off the responses to unit impulses."""
    make, shape, units, _ = CONVOLUTIONS[case]
    layer = make()
    found = of_layer(layer, shape)
    impulses = np.eye(9 * shape[-1], dtype="float32").reshape(-1, 3, 3, shape[-1])
    matrix = ops.convert_to_numpy(layer(impulses)).reshape(-1, units).T  # (units, inputs)
    # float32 sums on the way
    assert found.condition_number == pytest.approx(condition_number(matrix), rel=1e-4)
    assert found.filter_norm_max == pytest.approx(np.linalg.norm(matrix, axis=1).max(), rel=1e-5)


def test_filter_norms_of_a_transposed_convolution_are_by_filter():
    kernel = np.zeros((1, 1, 2, 3), "float32")  # (k, k, filters, channels)
    kernel[0, 0, 0], kernel[0, 0, 1] = [3.0, 4.0, 0.0], [0.0, 0.0, 1.0]
    found = of_layer(layers.Conv2DTranspose(2, 1), (4, 4, 3), kernel)
    assert (found.filter_norm_min, found.filter_norm_median, found.filter_norm_max) == (1.0, 3.0, 5.0)


def test_dirac_layers_are_measured_by_the_kernel_in_use():
    """b = 0, a = (1, 2): W_hat = diag(1, 2), condition 2, whatever the raw kernel is."""
    layer = DiracDense(2)
    layer.build((None, 2))
    layer.kernel.assign([[1.0, 2.0], [0.0, 1.0]])
    layer.identity_scale.assign([1.0, 2.0])
    layer.filter_scale.assign([0.0, 0.0])
    found, _ = measure_weights(layer)
    assert found.condition_number == pytest.approx(2.0) and found.raw_condition_number == pytest.approx(9.0)
    assert of_layer(DiracConv2D(4, 3), (5, 5, 4)).condition_number < np.inf


def test_distance_is_from_the_initial_weights():
    """(3, 4) away from a start of norm 10."""
    model = chain((2,), layers.Dense(1, name="d"))
    model.get_layer("d").kernel.assign([[6.0], [8.0]])
    start = model.get_weights()
    model.get_layer("d").kernel.assign([[9.0], [12.0]])
    found = measure(model, quantities="weights", initial_weights=start).layers[0].weights
    assert found.distance == pytest.approx(5.0) and found.relative_distance == pytest.approx(0.5)
    assert measure(model, quantities="weights").layers[0].weights.distance is None


def test_kernels_too_large_to_invert_say_so(monkeypatch):
    monkeypatch.setattr("dirac_keras.diagnostics.weights.MAX_SIDE", 3)
    diagnosis = measure(chain((9,), layers.Dense(4)), quantities="weights")
    assert diagnosis.layers[0].weights.condition_number is None
    assert diagnosis.layers[0].weights.filter_norm_max > 0
    assert "4 x 9 matrix is larger" in diagnosis.not_measured[0].why


# Gradients --------------------------------------------------------------------------------------------------
def linear_model(kernel, head=((1.0, 0.0), (0.0, 1.0))):
    model = chain((2,), layers.Dense(2, use_bias=False, name="d"), layers.Dense(2, use_bias=False, name="head"))
    model.get_layer("d").kernel.assign(kernel)
    model.get_layer("head").kernel.assign(head)
    return model


def gradients(model, x, y, **options):
    diagnosis = measure(model, (np.asarray(x, "float32"), np.asarray(y)), "gradients", **options)
    return diagnosis.layers[0].gradients


def test_gradient_norms_by_hand():
    """Zero logits, probabilities 1/2: the loss's gradient by the logits is p - y = (-1/2, 1/2) for class 0.

    By the kernel it is the mean of x^T (p - y): for x = (2, 0) and class 0 twice, norm 2 / sqrt(2).
    """
    found = gradients(linear_model(np.zeros((2, 2))), [[2.0, 0.0], [2.0, 0.0]], [0, 0])
    assert found.response_gradient_norm == pytest.approx(np.sqrt(0.5), rel=1e-6)
    assert found.kernel_gradient_norm == pytest.approx(np.sqrt(2.0), rel=1e-6)
    assert found.cosine == pytest.approx(1.0) and found.samples == 2


def test_kernel_gradient_is_of_the_mean_loss():
    """Opposite classes at one image: their kernel gradients cancel, their cosine is -1."""
    found = gradients(linear_model(np.zeros((2, 2))), [[2.0, 0.0], [2.0, 0.0]], [0, 1])
    assert found.kernel_gradient_norm == pytest.approx(0.0, abs=1e-7)
    assert found.cosine == pytest.approx(-1.0) and found.absolute_cosine == pytest.approx(1.0)


def test_more_samples_than_one_backward_pass_takes():
    """40 samples in passes of 16; classes half and half: of 780 pairs 2 * 190 agree and 400 oppose."""
    x = np.full((40, 2), 1.0)
    found = gradients(linear_model(np.zeros((2, 2))), x, np.arange(40) % 2)
    assert found.samples == 40
    assert found.cosine == pytest.approx((380 - 400) / 780, rel=1e-5)
    # of one class: x^T (p - y) is +-1/2 in each of four places
    assert gradients(linear_model(np.zeros((2, 2))), x, np.zeros(40, int)).kernel_gradient_norm == pytest.approx(1.0)


def test_gradient_samples_are_drawn_at_random_from_all_data():
    x, y = np.full((500, 2), 1.0), np.repeat([0, 1], 250)  # the first 250 are of one class
    found = gradients(linear_model(np.zeros((2, 2))), x, y, gradient_samples=20)
    assert found.samples == 20 and found.cosine < 0.5


def test_softmax_outputs_give_the_gradients_of_their_logits():
    """As a layer, an argument and a raw operation."""
    x, y = normal(8, 4).astype("float32"), np.arange(8) % 3
    keras.utils.set_random_seed(3)
    logits = chain((4,), layers.Dense(5, activation="tanh"), layers.Dense(3))
    for last in (layers.Softmax(), layers.Activation("softmax"), ops.softmax):
        model = keras.Model(logits.inputs, last(logits.outputs[0]))
        here, there = (vars(gradients(m, x, y)) for m in (model, logits))
        assert here == pytest.approx(there, rel=1e-4)


def test_loss_of_ones_own():
    """Squared error by the outputs: gradient 2 (0 - 3) in each of two outputs, norm 6 sqrt(2)."""

    def loss(labels, outputs):
        return ops.sum(ops.square(outputs - ops.cast(labels, "float32")), axis=-1)

    model = chain((2,), layers.Dense(2, kernel_initializer="zeros"))
    found = gradients(model, np.ones((4, 2)), np.full((4, 2), 3.0), loss=loss)
    assert found.response_gradient_norm == pytest.approx(6 * np.sqrt(2.0), rel=1e-6)
    with pytest.raises(ValueError, match="loss must give one number a sample"):
        gradients(model, np.ones((4, 2)), np.full((4, 2), 3.0), loss=lambda y, o: ops.sum(o))


def test_samples_without_gradient_are_counted_and_in_no_pair():
    """A dead ReLU before the head: no gradient reaches the first layer's response for the second image."""
    model = chain((2,), layers.Dense(2, use_bias=False), layers.Dense(2, activation="relu", bias_initializer="zeros"))
    model = keras.Model(model.inputs, layers.Dense(2)(model.outputs[0]))
    model.layers[1].kernel.assign(np.eye(2))
    model.layers[2].kernel.assign(np.eye(2))
    diagnosis = measure(model, (np.array([[1.0, 1.0], [-1.0, -1.0], [2.0, 1.0]], "float32"), np.array([0, 1, 0])))
    found = diagnosis.layers[0].gradients
    assert found.samples_without_gradient == 1 and -1 <= found.cosine <= 1


def test_frozen_layers_have_gradients_too():
    model = linear_model(np.zeros((2, 2)))
    model.trainable = False
    found = gradients(model, [[2.0, 0.0], [2.0, 0.0]], [0, 0])
    assert found.kernel_gradient_norm == pytest.approx(np.sqrt(2.0), rel=1e-6)


def test_kernel_gradients_agree_with_finite_differences():
    model = chain((3,), DiracDense(3, name="d"), layers.LeakyReLU(), layers.Dense(2))
    x, y = normal(6, 3).astype("float32"), np.arange(6) % 2
    kernel = model.get_layer("d").kernel
    start, step, slopes = np.array(ops.convert_to_numpy(kernel)), 1e-2, np.zeros((3, 3))
    loss = crossentropy(from_probabilities=False)
    for place in np.ndindex(3, 3):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            kernel.assign(moved)
            values.append(float(ops.mean(loss(y.astype("int32"), model(x)))))
        slopes[place] = (values[0] - values[1]) / (2 * step)
    kernel.assign(start)
    # float32 losses of about 1 over steps of 0.02
    assert gradients(model, x, y).kernel_gradient_norm == pytest.approx(np.linalg.norm(slopes), rel=2e-2)


def test_labels_as_a_column_of_whole_floats_are_taken():
    np.testing.assert_array_equal(check_labels(np.array([[1.0], [0.0]]), 2), [1, 0])


def test_models_without_classes_have_no_gradients_and_say_so():
    model = chain((4,), layers.Dense(1))
    diagnosis = measure(model, (normal(8, 4).astype("float32"), normal(8)))
    assert "cross-entropy takes one output (batch, classes)" in diagnosis.not_measured[0].why


def test_reservoir_gives_each_sample_the_same_chance():
    """Each of 10 is drawn 300 times of 1000 on average; the deviation is sqrt(1000 * 0.3 * 0.7) = 14.5."""
    drawn = np.zeros(10)
    for seed in range(1000):
        reservoir = Reservoir(3, seed)
        for start in range(0, 10, 4):
            reservoir.offer(np.arange(10)[start : start + 4])
        drawn[reservoir.arrays()[0]] += 1
    assert np.all(np.abs(drawn - 300) < 5 * 14.5) and drawn.sum() == 3000


# Pictures ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def diagnosed():
    keras.utils.set_random_seed(0)
    model = chain((4,), DiracDense(4, activation="relu"), layers.Dense(4, activation="relu"), layers.Dense(2))
    data = normal(20, 4).astype("float32"), np.arange(20) % 2
    return model, data, measure(model, data, thresholds=(0.05, 1.0), initial_weights=model.get_weights())


@pytest.mark.parametrize("quantity", CURVES)
def test_every_curve_has_a_line_with_the_records_numbers(diagnosed, quantity, tmp_path):
    _, _, diagnosis = diagnosed
    figure = plot_depth(diagnosis, quantity, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    curve = CURVES[quantity]
    value = getattr(getattr(diagnosis.layers[0], curve.group), curve.field)
    value = next(iter(value.values())) if isinstance(value, dict) else value
    (axis,) = figure.axes
    (line, *_) = axis.lines
    assert line.get_ydata()[0] == pytest.approx(value * (100 if curve.is_share else 1))


def test_curves_are_drawn_from_what_was_written_and_compare_networks(diagnosed):
    _, _, diagnosis = diagnosed
    shown = diagnosis.to_dict()
    figure = plot_depth({"naive": shown, "proposed": diagnosis}, "units_above")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["naive, > 0.05", "naive, > 1", "proposed, > 0.05", "proposed, > 1"]
    assert (
        figure.axes[0].get_title(loc="left").replace("\n", " ")
        == "% of units above threshold by layer: naive, proposed"
    )


def test_infinite_condition_numbers_are_marked_at_the_edge():
    model = chain((2,), layers.Dense(2, kernel_initializer="ones"), layers.Dense(2))
    figure = plot_depth(measure(model, quantities="weights"), "weight_condition_number")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["infinite"]


def test_pictures_say_what_is_missing(diagnosed):
    _, _, diagnosis = diagnosed
    with pytest.raises(ValueError, match=r"quantity must be one of .*'colour'"):
        plot_depth(diagnosis, "colour")
    with pytest.raises(ValueError, match="measure spectrum first"):
        plot_depth(measure(diagnosed[0], quantities="weights"), "rank")


def test_responses_are_drawn_with_lines_between_classes(diagnosed, tmp_path):
    model, data, _ = diagnosed
    (found,) = collect_responses(model, data, 1)
    figure = plot_responses(found, tmp_path / "responses.png")
    assert figure.axes[0].get_title(loc="left") == f"Responses of layer {found.layer}"
    assert (tmp_path / "responses.png").stat().st_size > 1000
    assert figure.axes[0].images[0].get_array().shape == (4, 20) and len(figure.axes[0].lines) == 1
    assert (
        plot_responses(found, title="two networks' responses").axes[0].get_title(loc="left")
        == "two networks' responses"
    )
    with pytest.raises(ValueError, match="must be a matrix"):
        plot_responses(np.zeros(3))
