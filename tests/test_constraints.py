import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.constraints import MaxNorm, UnitInterval
from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense


def constrain(kernel, *arguments, **options):
    return keras.ops.convert_to_numpy(MaxNorm(*arguments, **options)(keras.ops.convert_to_tensor(kernel)))


def filter_norms(kernel):
    return np.sqrt(np.sum(np.square(kernel, dtype="float64"), axis=tuple(range(kernel.ndim - 1))))


def test_columns_of_a_dense_kernel_are_brought_to_the_bound():
    """Columns (3, 4) of norm 5 and (0, 2) of norm 2, bound 2.5: the first is halved."""
    kernel = np.array([[3.0, 0.0], [4.0, 2.0]], "float32")
    np.testing.assert_array_equal(constrain(kernel, 2.5), [[1.5, 0.0], [2.0, 2.0]])


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5), (3, 3, 4, 5), (3, 3, 3, 2, 5)])
def test_norm_is_that_of_the_whole_filter(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32") * 4
    norms = filter_norms(constrain(kernel, 3))
    np.testing.assert_allclose(norms, 3, rtol=1e-6)  # all were above; float32 rounds the factor and the product


def test_vector_within_the_bound_keeps_every_bit():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype("float32")
    kernel *= 2.999 / filter_norms(kernel).astype("float32")
    np.testing.assert_array_equal(constrain(kernel, 3), kernel)


def test_zero_vector_stays_zero():
    np.testing.assert_array_equal(constrain(np.zeros((4, 2), "float32"), 1), np.zeros((4, 2)))


def test_axis_chooses_what_a_unit_is():
    """A depthwise kernel (2, 2, 1, 1) of ones has norm 2 over its pixels, and so has each of two channels."""
    kernel = np.ones((2, 2, 2, 1), "float32")
    np.testing.assert_array_equal(constrain(kernel, 1.0, axis=(0, 1)), kernel / 2)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda **o: layers.Dense(4, **o), (6,)),
        (lambda **o: layers.Conv1D(4, 3, **o), (8, 3)),
        (lambda **o: layers.Conv2D(4, 3, **o), (8, 8, 3)),
        (lambda **o: layers.Conv3D(4, 3, **o), (4, 4, 4, 2)),
        (lambda **o: DiracDense(4, **o), (6,)),
        (lambda **o: DiracConv1D(4, 3, **o), (8, 3)),
        (lambda **o: DiracConv2D(4, 3, **o), (8, 8, 3)),
        (lambda **o: DiracConv3D(4, 3, **o), (4, 4, 4, 2)),
    ],
    ids=["dense", "conv1d", "conv2d", "conv3d", "dirac_dense", "dirac_conv1d", "dirac_conv2d", "dirac_conv3d"],
)
def test_norms_hold_after_every_step(layer, shape, dtype):
    class Norms(keras.callbacks.Callback):
        largest, moved = 0.0, []

        def on_train_batch_end(self, batch, logs=None):
            norms = filter_norms(keras.ops.convert_to_numpy(self.model.layers[0].kernel))
            self.largest = max(self.largest, norms.max())
            self.moved = [*self.moved, norms]

    rng = np.random.default_rng(0)
    first = layer(kernel_constraint=MaxNorm(0.5), kernel_initializer="he_normal", dtype=dtype)
    model = keras.Sequential([keras.Input(shape), first, layers.Flatten(), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    norms = Norms()
    x, y = rng.normal(size=(16, *shape)), rng.normal(size=(16, 1))
    model.fit(x.astype("float32"), y.astype("float32"), batch_size=4, verbose=0, callbacks=[norms])
    assert len(norms.moved) == 4 and norms.largest <= 0.5 + 1e-5
    assert norms.largest > 0.49, "the bound was never reached, so nothing was tested"


def test_constraint_is_saved_with_its_layer(tmp_path):
    constraint = MaxNorm(2.0, axis=(0, 1))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_constraint=constraint)])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras").layers[0].kernel_constraint
    assert type(loaded) is MaxNorm and tuple(loaded.axis) == (0, 1) and loaded.max_value == 2.0


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "3", None, True])
def test_bad_bound_gets_a_message_that_names_it(value):
    with pytest.raises(ValueError, match=r"max_value must be a number above 0\. Received max_value="):
        MaxNorm(value)


def test_unit_interval_clips_both_ends_and_nothing_between():
    clipped = keras.ops.convert_to_numpy(UnitInterval()(np.array([-0.1, 0.0, 0.3, 1.0, 1.1], "float32")))
    np.testing.assert_array_equal(clipped, np.array([0.0, 0.0, 0.3, 1.0, 1.0], "float32"))
