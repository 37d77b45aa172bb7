import numpy as np
from keras import ops

from dirac_keras import precision
from dirac_keras.graph.casting import to_float32
from dirac_keras.models import build_diracnet
from tests.layer_checks import randomize_weights


def test_float32_copy_of_a_mixed_model_equals_the_float32_model():
    with precision.dtype_policy("mixed_bfloat16"):
        mixed = build_diracnet(10, 0.25)
    reference = build_diracnet(10, 0.25)
    randomize_weights(mixed)
    reference.set_weights(mixed.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    converted = to_float32(mixed)
    np.testing.assert_array_equal(ops.convert_to_numpy(converted(images)), ops.convert_to_numpy(reference(images)))
    assert mixed.get_layer("conv1").compute_dtype == "bfloat16"


def test_float32_model_is_not_copied():
    model = build_diracnet(10, 0.25)
    assert to_float32(model) is model
