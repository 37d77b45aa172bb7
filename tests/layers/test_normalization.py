import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization
from tests.layer_checks import check_layer, randomize_weights

SHAPES = [(16, 5), (6, 4, 5), (4, 3, 6, 5), (2, 3, 4, 2, 5)]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the fused path is TensorFlow's")


def pair(shape, seed=0, **options):
    ours, reference = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    ours.build(shape)
    reference.build(shape)
    randomize_weights(ours, seed)
    reference.set_weights(ours.get_weights())
    return ours, reference


def numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def images(shape, seed=0):
    return np.random.default_rng(seed).normal(1.5, 2.0, shape).astype("float32")


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_keeps_the_contract(shape, tmp_path):
    names = ["gamma", "beta", "moving_mean", "moving_variance"]
    check_layer(BatchNormalization, shape, shape, names, tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 1e-5}])
def test_outputs_equal_keras_in_inference(shape, options):
    ours, reference = pair(shape, **options)
    x = images(shape)
    np.testing.assert_allclose(numpy(ours(x)), numpy(reference(x)), atol=1e-5)  # float32, values up to 10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.9, "epsilon": 1e-5}])
def test_outputs_and_statistics_equal_keras_in_training(shape, options):
    ours, reference = pair(shape, **options)
    for step in range(3):
        x = images(shape, step)
        np.testing.assert_allclose(numpy(ours(x, training=True)), numpy(reference(x, training=True)), atol=1e-5)
    for mine, theirs in zip(ours.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_moving_variance_is_the_batchs_own_without_bessels_correction():
    layer = BatchNormalization(momentum=0.0)
    layer(np.array([[1.0], [3.0]], "float32"), training=True)
    np.testing.assert_allclose(numpy(layer.moving_variance), [1.0])  # ((1-2)^2 + (3-2)^2) / 2; corrected it were 2
    np.testing.assert_allclose(numpy(layer.moving_mean), [2.0])


def test_batch_of_one_value_a_channel_gives_finite_statistics():
    layer = BatchNormalization(momentum=0.0)
    layer(np.array([[4.0, 5.0]], "float32"), training=True)
    np.testing.assert_array_equal(numpy(layer.moving_variance), [0.0, 0.0])


@tensorflow_only
def test_gradients_equal_keras():
    import tensorflow as tf

    shape = (4, 3, 6, 5)
    ours, reference = pair(shape)
    x = tf.constant(images(shape))
    target = tf.constant(images(shape, 7))

    def gradients(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) * target)
        return tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])

    for mine, theirs in zip(gradients(ours), gradients(reference), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)  # sums of 72 products in float32


@tensorflow_only
def test_fused_operation_is_used_where_it_applies_and_not_elsewhere():
    import tensorflow as tf

    def operations(layer, shape, **call):
        function = tf.function(lambda x: layer(x, training=True, **call))
        graph = function.get_concrete_function(tf.TensorSpec(shape, "float32")).graph
        return {operation.type for operation in graph.get_operations()}

    assert "FusedBatchNormV3" in operations(BatchNormalization(), (4, 3, 6, 5))
    assert "FusedBatchNormV3" not in operations(BatchNormalization(axis=1), (4, 3, 6, 5))
    assert "FusedBatchNormV3" in operations(BatchNormalization(synchronized=True), (4, 3, 6, 5))  # on one device
    assert "FusedBatchNormV3" not in operations(BatchNormalization(), (4, 6, 5), mask=tf.ones((4, 6), "bool"))


def test_other_axis_equals_keras():
    ours, reference = pair((4, 5, 3, 6), axis=1)
    x = images((4, 5, 3, 6))
    np.testing.assert_array_equal(numpy(ours(x, training=True)), numpy(reference(x, training=True)))


def test_mask_equals_keras():
    ours, reference = pair((4, 6, 5))
    x, mask = images((4, 6, 5)), np.arange(6) < np.array([[6], [2], [3], [1]])
    np.testing.assert_array_equal(
        numpy(ours(x, training=True, mask=mask)), numpy(reference(x, training=True, mask=mask))
    )


def test_frozen_layer_uses_and_keeps_its_moving_statistics():
    layer, reference = pair((4, 3, 6, 5))
    layer.trainable = False
    before = layer.get_weights()
    x = images((4, 3, 6, 5))
    np.testing.assert_allclose(numpy(layer(x, training=True)), numpy(reference(x, training=False)), atol=1e-5)
    for mine, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_in_mixed_precision_equal_keras(policy):
    ours, reference = pair((8, 4, 4, 5), dtype=policy)
    x = images((8, 4, 4, 5))
    ours(x, training=True)
    reference(x, training=True)
    # both take the statistics of the same rounded inputs in float32
    np.testing.assert_allclose(numpy(ours.moving_mean), numpy(reference.moving_mean), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(ours.moving_variance), numpy(reference.moving_variance), rtol=1e-5, atol=1e-6)
