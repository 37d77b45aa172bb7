"""`check_layer`: the contract that every layer of ours keeps, whatever the backend."""

import keras
import numpy as np
from keras import ops

# A unit in the last place of bfloat16 is 2**-8, of float16 2**-11; a sum of a few products loses a little more.
TOLERANCE = {"float32": 1e-6, "mixed_bfloat16": 4e-2, "mixed_float16": 5e-3}


def randomize_weights(model, seed=0):
    """Move every weight off its start: normal values, positive where a variance is, in [0, 1] where alpha is."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0.0, 0.5, weight.shape)
        if "variance" in weight.name:
            values = 0.5 + np.abs(values)
        if weight.name == "alpha":
            values = rng.uniform(0.1, 0.9, weight.shape)
        weight.assign(values.astype("float32"))


def compiled(layer, inputs):
    """What a layer gives in a compiled step, as an array.

    TensorFlow alone has no channels-first convolution on a CPU, or on some processors only; XLA has it on all.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        layer = tf.function(layer, jit_compile=True)
    return ops.convert_to_numpy(layer(ops.convert_to_tensor(inputs)))


def check_layer(make_layer, input_shape, output_shape, weight_names, tmp_path):
    """Check shapes, weights, config, reload with every weight moved off its start, mixed precision, gradients.

    Args:
        make_layer: function without arguments -> new layer.
        input_shape, output_shape: with the batch.
        weight_names: in order.
        tmp_path: folder for the saved model.
    """
    inputs = np.random.default_rng(1).normal(size=input_shape).astype("float32")
    layer = make_layer()
    assert tuple(layer(inputs).shape) == output_shape
    assert tuple(layer.compute_output_shape(input_shape)) == output_shape
    assert [weight.name for weight in layer.weights] == weight_names

    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()

    model = keras.Sequential([keras.Input(input_shape[1:]), make_layer()])
    randomize_weights(model)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    for saved, loaded in zip(model.get_weights(), reloaded.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)
    expected = ops.convert_to_numpy(model(inputs))
    np.testing.assert_array_equal(ops.convert_to_numpy(reloaded(inputs)), expected)

    for policy, tolerance in TOLERANCE.items():
        config = {**model.layers[0].get_config(), "dtype": keras.DTypePolicy(policy)}
        mixed = type(layer).from_config(config)
        mixed.build(input_shape)
        mixed.set_weights(model.get_weights())
        outputs = mixed(inputs)
        assert keras.backend.standardize_dtype(outputs.dtype) == keras.DTypePolicy(policy).compute_dtype
        outputs = ops.convert_to_numpy(ops.cast(outputs, "float32"))
        assert np.max(np.abs(outputs - expected)) <= tolerance * np.max(np.abs(expected)), policy

    for policy in TOLERANCE:
        _check_that_training_moves_every_trainable_weight(make_layer, input_shape, policy)


def _check_that_training_moves_every_trainable_weight(make_layer, input_shape, policy):
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential([keras.Input(input_shape[1:]), make_layer()])
        randomize_weights(model)
        before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
        inputs = np.random.default_rng(2).normal(size=input_shape).astype("float32")
        targets = np.random.default_rng(3).normal(size=model.compute_output_shape(input_shape)).astype("float32")
        model.compile(keras.optimizers.SGD(0.1), loss="mse", auto_scale_loss=False)
        model.fit(inputs, targets, epochs=1, batch_size=len(inputs), verbose=0)
    finally:
        keras.config.set_dtype_policy(former)
    for weight, start in zip(model.trainable_weights, before, strict=True):
        now = ops.convert_to_numpy(weight)
        assert np.isfinite(now).all(), (policy, weight.path)
        assert np.any(now != start), (policy, weight.path)
