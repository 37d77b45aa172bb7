"""Every way on which a BatchNormalization merges exactly, without the verification that would hide a wrong one."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras.folding import fold
from tests.folding.helpers import assert_all_folds, assert_stays, chain, normalizations, randomize, relative_difference

IMAGES = (6, 6, 4)
WIDEST = "float64" if keras.backend.backend() == "tensorflow" else "float32"  # JAX has no more unless asked to


def build(make, shape=IMAGES, **arguments):
    x = keras.Input(shape, **arguments)
    return randomize(keras.Model(x, make(x)))


def norm(x, axis=-1):
    return layers.BatchNormalization(axis=axis)(x)


def conv(x, filters=4, size=3, **arguments):
    return layers.Conv2D(filters, size, **arguments)(x)


# Into what is before it -----------------------------------------------------------------------------------
BEFORE = {
    "subtract": lambda x: norm(layers.Subtract()([conv(x), conv(x)])),
    "ops_subtract": lambda x: norm(ops.subtract(conv(x), conv(x))),
    "minus": lambda x: norm(conv(x) - conv(x)),
    "average": lambda x: norm(layers.Average()([conv(x), conv(x), conv(x)])),
    "ops_add": lambda x: norm(ops.add(conv(x), conv(x))),
    "negative": lambda x: norm(-conv(x)),
    "ops_negative": lambda x: norm(ops.negative(conv(x))),
    "sum_of_a_tensor_with_itself": lambda x: norm(_twice(conv(x))),
    "three_times_a_tensor": lambda x: norm(_three_times(conv(x))),
    "broadcast_summand": lambda x: norm(conv(x) + ops.mean(conv(x), axis=(1, 2), keepdims=True)),
    "summand_without_spatial_axes": lambda x: norm(conv(x) + ops.mean(conv(x), axis=(1, 2), keepdims=True)[0]),
    "merging_layer_of_another_rank": lambda x: norm(
        layers.Add()([conv(x), layers.Dense(4)(layers.GlobalAveragePooling2D()(x))])
    ),
    "shift_in_the_later_summand": lambda x: norm(
        layers.Add()([layers.ZeroPadding2D()(conv(x)), conv(x, padding="same")])
    ),
    "shift_in_the_third_summand": lambda x: norm(
        layers.Add()([layers.ZeroPadding2D()(conv(x)), layers.ZeroPadding2D()(conv(x)), conv(x, padding="same")])
    ),
    "shift_in_an_inner_sum": lambda x: norm(
        layers.Add()(
            [layers.ZeroPadding2D()(conv(x)), layers.Subtract()([layers.ZeroPadding2D()(conv(x)), conv(x, size=1)])]
        )
    ),
    "concatenate_raw": lambda x: norm(ops.concatenate([conv(x, 3), conv(x, 2)], axis=-1)),
    "concatenate_last_axis_by_number": lambda x: norm(ops.concatenate([conv(x, 3), conv(x, 2)], axis=3)),
    "concatenate_rows": lambda x: norm(layers.Concatenate(axis=1)([conv(x), conv(x)])),
    "stack_of_channels": lambda x: layers.BatchNormalization()(
        ops.stack([ops.mean(conv(x, 1), axis=-1), ops.mean(conv(x, 1), axis=-1)], axis=-1)
    ),
    "stack_of_images": lambda x: norm(ops.stack([conv(x), conv(x)], axis=1)),
    "permute": lambda x: norm(layers.Permute((3, 1, 2))(conv(x)), axis=1),
    "transpose": lambda x: norm(ops.transpose(conv(x), (0, 3, 2, 1)), axis=1),
    "transpose_negative": lambda x: norm(ops.transpose(conv(x), (0, -1, 1, 2)), axis=1),
    "swapaxes": lambda x: norm(ops.swapaxes(conv(x), 1, -1), axis=1),
    "moveaxis": lambda x: norm(ops.moveaxis(conv(x), -1, 1), axis=-3),
    "reshape_raw": lambda x: norm(ops.reshape(conv(x), (-1, 16, 4))),
    "reshape_that_splits_channels": lambda x: norm(layers.Reshape((4, 4, 2, 2))(conv(x))),
    "expand_dims": lambda x: norm(ops.expand_dims(conv(x), 1)),
    "squeeze": lambda x: norm(ops.squeeze(conv(x, size=6), 1)),
    "slice_of_channels": lambda x: norm(conv(x, 6)[..., :4]),
    "slice_with_a_step_from_the_end": lambda x: norm(conv(x, 6)[..., ::-2]),
    "slice_of_rows": lambda x: norm(conv(x)[:, 1:, ::2]),
    "one_row": lambda x: norm(conv(x)[:, -1]),
    "one_channel": lambda x: norm(conv(x)[..., 1:2]),
    "new_axis": lambda x: norm(conv(x)[:, None]),
    "one_piece_of_a_split": lambda x: (lambda a, b: [norm(a), ops.relu(b)])(*ops.split(conv(x, 6), 2, axis=-1)),
    "both_pieces_of_a_split": lambda x: [norm(part) for part in ops.split(conv(x, 6), [2], axis=3)],
    "cropping": lambda x: norm(layers.Cropping2D(((1, 0), (0, 2)))(conv(x))),
    "mean": lambda x: norm(ops.mean(conv(x), axis=(1, -2))),
    "mean_kept": lambda x: norm(ops.mean(conv(x), axis=1, keepdims=True)),
    "sum": lambda x: norm(ops.sum(conv(x), axis=(1, 2))),
    "average_pool_raw": lambda x: norm(ops.average_pool(conv(x), 2)),
    "flip": lambda x: norm(ops.flip(conv(x), axis=-1)),
    "pad_by_reflection": lambda x: norm(ops.pad(conv(x), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")),
    "stop_gradient": lambda x: norm(ops.stop_gradient(conv(x))),
    "flatten_of_one_pixel": lambda x: norm(layers.Flatten()(conv(x, size=6))),
    "repeat_vector": lambda x: norm(layers.RepeatVector(3)(layers.Dense(4)(layers.Flatten()(x)))),
    "layer_normalization": lambda x: norm(layers.LayerNormalization()(x)),
    "layer_normalization_without_beta": lambda x: norm(layers.LayerNormalization(center=False)(x)),
    "layer_normalization_without_gamma": lambda x: norm(layers.LayerNormalization(scale=False)(x)),
    "layer_normalization_of_images": lambda x: norm(layers.LayerNormalization(axis=(1, 2, 3))(x)),
    "layer_normalization_of_rows_and_channels": lambda x: norm(layers.LayerNormalization(axis=(1, 3))(x)),
    "group_normalization": lambda x: norm(layers.GroupNormalization(2)(x)),
    "group_normalization_without_weights": lambda x: norm(layers.GroupNormalization(2, center=False, scale=False)(x)),
    "instance_normalization": lambda x: norm(layers.GroupNormalization(-1)(x)),
    "rescaling": lambda x: norm(layers.Rescaling(1 / 255.0, offset=-1.0)(x)),
    "rescaling_per_channel": lambda x: norm(layers.Rescaling([1.0, -2.0, 0.0, 3.0], offset=[0.0, 1.0, 2.0, -1.0])(x)),
    "rescaling_and_rows": lambda x: norm(layers.Rescaling(0.5)(x), axis=1),
    "normalization": lambda x: norm(
        layers.Normalization(mean=[1.0, 2.0, 3.0, -4.0], variance=[1.0, 4.0, 9.0, 0.25])(x)
    ),
    "normalization_of_one_number": lambda x: norm(layers.Normalization(axis=None, mean=2.0, variance=4.0)(x)),
    "normalization_inverted": lambda x: norm(layers.Normalization(mean=1.0, variance=2.0, invert=True)(x)),
    "einsum_dense": lambda x: norm(layers.EinsumDense("abcd,de->abce", (6, 6, 5), bias_axes="e")(x)),
    "einsum_dense_without_bias": lambda x: norm(layers.EinsumDense("...d,de->...e", 5)(x)),
    "einsum_dense_to_heads": lambda x: norm(layers.EinsumDense("abcd,dhe->abche", (6, 6, 2, 3), bias_axes="he")(x)),
    "einsum_dense_to_heads_bias_of_one_axis": lambda x: norm(
        layers.EinsumDense("abcd,dhe->abche", (6, 6, 2, 3), bias_axes="e")(x), axis=3
    ),
    "einsum_dense_ellipsis_behind": lambda x: norm(
        layers.EinsumDense("ab...,bc->ac...", 5, bias_axes="c")(x[..., :3]), axis=1
    ),
    "spectral_normalization": lambda x: norm(layers.SpectralNormalization(layers.Conv2D(5, 3))(x)),
    "spectral_normalization_in_time": lambda x: norm(
        layers.TimeDistributed(layers.SpectralNormalization(layers.Dense(5)))(x)
    ),
    "time_distributed_layer_normalization": lambda x: norm(layers.TimeDistributed(layers.LayerNormalization())(x)),
    "inputs_by_name": lambda x: layers.BatchNormalization()(
        inputs=layers.Add()(inputs=[layers.Conv2D(4, 3)(inputs=x), conv(x)])
    ),
}


def _twice(x):
    return x + x


def _three_times(x):
    return layers.Add()([x, x, x])


@pytest.mark.parametrize("case", BEFORE)
def test_normalization_merges_into_what_is_before_it(case):
    assert normalizations(fold_exactly(build(BEFORE[case]))) == []


def fold_exactly(model):
    folded, report = fold(model, verify=False)
    assert relative_difference(model, folded) < 2e-5, str(report)
    return folded


# Into what is behind it -----------------------------------------------------------------------------------
BEHIND = {
    "subtract": lambda x: conv(ops.concatenate([norm(x) - 1.0, x], axis=-1)),
    "shared_sum": lambda x: conv(_twice(norm(x))),
    "sum_of_two_ways": lambda x: conv(_pooled_both_ways(norm(x))),
    "concatenation_of_two_ways": lambda x: conv(_joined_both_ways(norm(x))),
    "concatenation_of_rows": lambda x: conv(_rows(norm(x))),
    "negative": lambda x: conv(-norm(x)),
    "permute": lambda x: layers.Dense(3)(layers.Permute((2, 1, 3))(norm(x))),
    "transpose_to_channels_first": lambda x: layers.Dense(3)(layers.Flatten()(ops.transpose(norm(x), (0, 3, 1, 2)))),
    "channels_first_flatten": lambda x: layers.Dense(3)(layers.Flatten(data_format="channels_first")(norm(x, axis=1))),
    "channels_first_normalization_flattened": lambda x: layers.Dense(3)(layers.Flatten()(norm(x, axis=1))),
    "rows_flattened": lambda x: layers.Dense(3)(layers.Flatten()(norm(x, axis=2))),
    "slice": lambda x: conv(norm(x)[..., 1:3]),
    "slices_apart": lambda x: _apart(norm(x)),
    "split": lambda x: [conv(part) for part in ops.split(norm(x), [1], axis=-1)],
    "split_of_rows": lambda x: [conv(part) for part in ops.split(norm(x), 2, axis=1)],
    "unstack": lambda x: [layers.Dense(2)(part) for part in ops.unstack(norm(x), axis=1)],
    "stack": lambda x: layers.Dense(3)(ops.stack([norm(x), x], axis=-1)[..., 0]),
    "cropping": lambda x: conv(layers.Cropping2D(1)(norm(x))),
    "rows_then_cropping": lambda x: layers.Dense(2)(layers.Flatten()(layers.Cropping2D(1)(norm(x, axis=1)))),
    "flip": lambda x: conv(ops.flip(norm(x))),
    "sum": lambda x: layers.Dense(3)(ops.sum(norm(x), axis=(1, 2))),
    "repeat_vector": lambda x: layers.Dense(3)(layers.RepeatVector(2)(norm(ops.mean(x, axis=(1, 2))))),
    "reshape_that_splits_channels": lambda x: layers.Dense(3)(layers.Flatten()(layers.Reshape((6, 6, 2, 2))(norm(x)))),
    "einsum_dense": lambda x: layers.EinsumDense("abcd,de->abce", (6, 6, 5), bias_axes="e")(norm(x)),
    "einsum_dense_that_sums_rows": lambda x: layers.EinsumDense("abcd,de->ae", 5)(norm(x)),
    "einsum_dense_with_kernel_of_rows": lambda x: layers.EinsumDense("abcd,bde->ace", (6, 5))(norm(x)),
    "einsum_dense_with_batched_rows": lambda x: layers.EinsumDense("abcd,bde->abce", (6, 6, 5), bias_axes="e")(norm(x)),
    "spectral_normalization": lambda x: layers.SpectralNormalization(layers.Conv2D(5, 3))(norm(x)),
    "rescaling": lambda x: ops.relu(layers.Rescaling(2.0, offset=[1.0, 2.0, 3.0, 4.0])(norm(x))),
    "normalization": lambda x: ops.relu(
        layers.Normalization(mean=[0.0, 1.0, 0.0, 2.0], variance=[1.0, 2.0, 3.0, 4.0])(norm(x))
    ),
    "time_distributed": lambda x: layers.TimeDistributed(layers.EinsumDense("abc,cd->abd", (6, 3)))(norm(x)),
    "convolution_of_one_pixel_behind_a_reshape": lambda x: layers.Conv1D(3, 1)(layers.Reshape((36, 4))(norm(x))),
}


def _pooled_both_ways(x):
    return layers.Add()([layers.AveragePooling2D(3, strides=1, padding="same")(x), layers.Dropout(0.5)(x)])


def _joined_both_ways(x):
    return layers.Concatenate()([layers.AveragePooling2D(3, strides=1, padding="same")(x), x, x[..., :1]])


def _rows(x):
    return ops.concatenate([x, ops.flip(x, axis=1)], axis=1)


def _apart(x):
    return [layers.Dense(3)(x[..., :1]), layers.Dense(3)(x[:, 0])]


@pytest.mark.parametrize("case", BEHIND)
def test_normalization_merges_into_what_is_behind_it(case):
    assert normalizations(fold_exactly(build(BEHIND[case]))) == []


def test_normalization_merges_into_the_one_before_it():
    model = build(lambda x: norm(layers.Dropout(0.5)(norm(conv(x, activation="relu")))))
    assert len(normalizations(fold_exactly(model))) == 1


def test_first_of_two_normalizations_merges_into_the_second():
    """The first has two readers, so the second cannot merge into it; each of them takes it up."""
    x = keras.Input(IMAGES)
    y = norm(x)
    model = randomize(keras.Model(x, [ops.relu(norm(y)), ops.tanh(norm(y))]))
    assert len(normalizations(fold_exactly(model))) == 2


def test_embedding_takes_a_normalization_into_its_table():
    model = build(lambda x: norm(layers.Embedding(5, 4)(x)), (6,), dtype="int32")
    folded = fold_exactly(model)
    table, layer = keras.ops.convert_to_numpy(model.layers[1].embeddings), model.layers[2]
    scale = np.asarray(layer.gamma) / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    expected = scale * (table - np.asarray(layer.moving_mean)) + np.asarray(layer.beta)
    np.testing.assert_allclose(folded.layers[1].embeddings, expected, rtol=1e-5, atol=1e-6)


def test_spectral_normalization_that_merges_becomes_the_layer_inside():
    """In training the wrapper divides the kernel by its norm: it would undo the fold."""
    wrapper = layers.SpectralNormalization(layers.Conv2D(5, 3), name="wrapped")
    model = build(lambda x: norm(wrapper(x)))
    wrapper(np.ones((1, *IMAGES)), training=True)
    folded = fold_exactly(model)
    assert (type(folded.layers[1]), folded.layers[1].name) == (layers.Conv2D, "wrapped")


def test_spectral_normalization_called_in_training_mode_is_left():
    wrapper = layers.SpectralNormalization(layers.Conv2D(5, 3))
    _, report = fold(build(lambda x: norm(wrapper(x, training=True))), verify=False)
    assert "training=True" in report.kept[0].reason


def test_way_through_very_many_operations_is_no_error():
    def make(x):
        y = layers.Dense(2)(x)
        for _ in range(300):
            y = ops.flip(y, axis=1)
        return norm(y)

    _, report = fold(build(make, (2,)), verify=False)
    assert len(report.folded) + len(report.kept) == 1


def test_normalization_by_hand():
    """gamma 3, variance 4 (epsilon 0), mean 1, beta 5: 1.5 x + 3.5; behind x - mean 2 over deviation 5."""
    x = keras.Input((1,))
    y = layers.Normalization(mean=2.0, variance=25.0)(x)
    model = keras.Model(x, layers.BatchNormalization(epsilon=0.0)(y))
    model.layers[-1].set_weights([np.array([value]) for value in (3.0, 5.0, 1.0, 4.0)])
    folded, _ = fold(model)
    layer = folded.layers[1]
    assert type(layer) is layers.Rescaling
    assert (layer.scale, layer.offset) == (pytest.approx(0.3), pytest.approx(1.5 * -0.4 + 3.5))


def test_shift_behind_a_difference_by_hand():
    """Behind c - x with c = 2: 3 (2 - x) + 4 = -3 x + 10."""
    x = keras.Input((1,))
    y = layers.Dense(1)(x)
    model = keras.Model(x, layers.BatchNormalization(epsilon=0.0)(2.0 - y))
    model.layers[1].set_weights([np.array([[1.0]]), np.array([0.0])])
    model.layers[-1].set_weights([np.array([value]) for value in (3.0, 4.0, 0.0, 1.0)])
    folded, _ = fold(model, verify=False)
    kernel, bias = folded.layers[1].get_weights()
    assert (kernel.item(), bias.item()) == (-3.0, 10.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_numbers_of_preprocessing_layers_keep_their_precision(dtype):
    """Python's numbers as TensorFlow takes them, arrays as they are; a single bfloat16 too."""
    parts = [layers.Rescaling(0.3, dtype=dtype), layers.BatchNormalization(dtype=dtype), layers.ReLU(dtype=dtype)]
    model = chain((5,), *parts, dtype=dtype)
    folded, _ = fold(model, verify=False)
    assert normalizations(folded) == []
    x = np.random.default_rng(0).normal(size=(3, 5))
    expected, actual = (
        keras.ops.convert_to_numpy(ops.cast(one(ops.convert_to_tensor(x, dtype)), WIDEST)) for one in (model, folded)
    )
    tolerance = {"bfloat16": 0.05, "float16": 0.005}.get(dtype, 1e-13 if WIDEST == "float64" else 1e-6)
    np.testing.assert_allclose(actual, expected, atol=tolerance)


# What is not exact ----------------------------------------------------------------------------------------
STAYS = {
    "unit_normalization": (lambda x: norm(layers.UnitNormalization()(x)), "neither has a kernel"),
    "maximum": (lambda x: norm(layers.Maximum()([conv(x), conv(x)])), "neither has a kernel"),
    "minimum_with_a_constant": (lambda x: norm(ops.minimum(conv(x), 1.0)), "neither has a kernel"),
    "product_of_tensors": (lambda x: norm(conv(x) * conv(x)), "multiplies tensors"),
    "dot": (lambda x: norm(layers.Dot(-1)([layers.Reshape((36, 4))(x), layers.Reshape((36, 4))(x)])), "(Dot)"),
    "quotient_by_a_tensor": (lambda x: norm(ops.relu(x) / conv(x, size=1)), "divides by a tensor"),
    "where": (lambda x: norm(ops.where(x > 0, conv(x, size=1), 0.0)), "neither has a kernel"),
    "rms_normalization": (lambda x: norm(layers.RMSNormalization()(x)), "no weight for a shift"),
    "sum_of_unequal_scales": (lambda x: ops.relu(norm(x) + x), "not the same scale"),
    "one_half_of_the_rows": (lambda x: _first_half(conv(x)), "another axis"),
    "rows_behind_a_convolution": (lambda x: norm(conv(x), axis=1), "another axis"),
    "positions_of_a_flattened_convolution": (lambda x: norm(layers.Flatten()(conv(x))), "another axis"),
    "subtracts_a_tensor_that_is_no_layers": (lambda x: norm(x - ops.relu(conv(x, size=1))), "straight from an input"),
    "channels_averaged": (lambda x: ops.relu(ops.mean(norm(x), axis=-1)), "works across axis 3"),
    "padding_by_a_number": (
        lambda x: norm(ops.pad(conv(x), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=2.0)),
        "another number than zero",
    ),
    "layer_normalization_behind": (lambda x: layers.LayerNormalization()(norm(x)), "normalizes what it reads"),
    "group_normalization_behind": (lambda x: layers.GroupNormalization(2)(norm(x)), "normalizes what it reads"),
}


def _first_half(x):
    """The other half must stay as it is, although a scale per channel would fit the convolution."""
    first, second = ops.split(x, 2, axis=1)
    return [norm(first), ops.relu(second)]


@pytest.mark.parametrize("case", STAYS)
def test_what_is_not_exact_stays_with_its_reason(case):
    make, reason = STAYS[case]
    assert_stays(build(make), reason, verify=False)


@pytest.mark.parametrize("layer", [lambda: layers.GroupNormalization(2), lambda: layers.LayerNormalization()])
def test_layer_that_is_fed_with_integers_and_casts_back_is_left(layer):
    """Resizing says float32 of bytes that it only moves; the normalization returns what it reads, rounded."""
    model = build(lambda x: ops.tanh(norm(layer()(layers.MaxPooling2D(2)(x)))), dtype="uint8")
    folded, report = fold(model, verify=False)
    assert "returns integers" in report.kept[0].reason
    assert relative_difference(model, folded) < 1e-5


def test_rescaling_that_only_casts_takes_nothing():
    """Folding itself puts such a layer in where integers become floats: a second fold must find nothing."""
    model = build(lambda x: ops.tanh(norm(layers.Rescaling(1.0)(x))), dtype="uint8")
    assert_stays(model, "only converts what it reads", verify=False)


def test_reason_of_an_input_has_a_subject():
    _, report = fold(chain(IMAGES, layers.BatchNormalization(), layers.ReLU(name="bend")))
    assert report.kept[0].reason == (
        "before it: what it reads comes straight from an input of the model; "
        "behind it: 'bend' (ReLU) neither has a kernel nor lets a scale and shift per channel pass through"
    )


def test_layer_that_is_called_once_is_never_called_shared():
    """The two ways from the normalization to the convolution were once taken for two calls of it."""
    model = build(lambda x: ops.relu(conv(_joined_both_ways(norm(x)), padding="same")))
    _, report = fold(model, verify=False)
    assert "shared" not in report.kept[0].reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weight", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_normalization_with_numbers_that_are_none_is_left(weight, value):
    if weight == "moving_variance" and value == np.inf:
        value = -1.0  # an infinite variance makes a finite scale of zero: its root is what fails
    model = chain(IMAGES, layers.Conv2D(4, 3), layers.BatchNormalization())
    variable = getattr(model.layers[-1], weight)
    variable.assign(np.array([value, 1.0, 1.0, 1.0]))
    folded, report = fold(model, verify=False)
    assert len(normalizations(folded)) == 1
    assert report.kept[0].reason == "it has statistics or weights that are not finite"


def test_normalization_that_is_the_identity_goes():
    model = chain(IMAGES, layers.ReLU(), layers.BatchNormalization(epsilon=0.0), layers.ReLU())
    model.layers[2].set_weights([np.full(4, value) for value in (1.0, 0.0, 0.0, 1.0)])
    assert_all_folds(model)
