"""What every family of networks keeps, whatever its architecture."""

import keras
import numpy as np
from keras import ops

from dirac_keras import fold
from dirac_keras.diagnostics import measure


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def randomize(model, seed=0):
    """Random weights and statistics, kernels of He's size: fresh BatchNormalization is nearly the identity."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 2.0, weight.shape)
        elif weight.name == "kernel":
            value = rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
        weight.assign(value)
    return model


def images_for(model, count=8, seed=1):
    return np.random.default_rng(seed).normal(size=(count, *model.input_shape[1:])).astype("float32")


def outputs_of(model, images):
    return ops.convert_to_numpy(model(images))


def branches(model):
    """Names of the layers that join several tensors."""
    return [layer.name for layer in model.layers[1:] if isinstance(layer.input, list)]


def check_network(make, tmp_path, joins):
    """Train a step, save and reload, logits in mixed precision, fold, measure.

    Args:
        make: function without arguments -> small untrained network of 4 classes.
        tmp_path: folder for the saved model.
        joins: bool, whether the network has branches.
    """
    model = make()
    assert bool(branches(model)) == joins
    images, labels = images_for(model), np.arange(8) % 4

    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    # TensorFlow takes longer to trace a step than to run two; JAX longer to run one by one.
    eager = keras.backend.backend() == "tensorflow"
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=eager)
    model.fit(images, labels, batch_size=8, epochs=2, verbose=0)  # in one step, gamma and beta of 0 stop a gradient
    for weight, start in zip(model.trainable_weights, before, strict=True):
        now = ops.convert_to_numpy(weight)
        assert np.isfinite(now).all() and np.any(now != start), weight.path
    model.save(tmp_path / "net.keras")
    expected = outputs_of(model, images)
    assert expected.shape == (8, 4)
    np.testing.assert_array_equal(outputs_of(keras.models.load_model(tmp_path / "net.keras"), images), expected)

    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = make()
    keras.config.set_dtype_policy("float32")
    assert mixed.output.dtype == "float32"
    assert {layer.compute_dtype for layer in mixed.layers if layer.name.endswith(("_bn", "_bn1"))} == {"bfloat16"}

    randomize(model)
    expected = outputs_of(model, images)
    folded, report = fold(model)
    # float32 sums in another order; a wrong fold is off by the outputs' size.
    difference = np.abs(outputs_of(folded, images) - expected).max()
    assert difference <= 1e-5 * np.abs(expected).max()
    left = [layer for layer in folded.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(left) == len(report.kept)
    if not joins:
        assert not left, "a chain folds whole"

    diagnosis = measure(model, (images, labels))
    kernels = [layer.name for layer in model.layers if getattr(layer, "kernel", None) is not None]
    assert [record.name for record in diagnosis.layers] == kernels
