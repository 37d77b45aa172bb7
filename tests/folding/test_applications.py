"""`fold` on the families of keras.applications, with random BatchNormalization statistics."""

import keras
import numpy as np
import pytest

from dirac_keras.folding import fold
from dirac_keras.folding.verify import random_inputs

# Accepted difference relative to the output's scale. float32 rounding through the deepest of these networks,
# with BatchNormalization and without, gives up to 1e-5; a wrong fold of a single layer gives 1e-2 or more.
TOLERANCE = 1e-4

# name, arguments, BatchNormalization layers before, and after with the reason why they stay
FAMILIES = [
    ("MobileNetV2", {"input_shape": (32, 32, 3), "alpha": 0.35}, 52, 0, ""),
    ("MobileNet", {"input_shape": (64, 64, 3), "alpha": 0.5}, 27, 0, ""),
    ("MobileNetV3Small", {"input_shape": (64, 64, 3)}, 34, 0, ""),
    ("ResNet50", {"input_shape": (64, 64, 3)}, 53, 0, ""),
    (
        "ResNet50V2",
        {"input_shape": (64, 64, 3)},
        49,
        17,
        "pre-activation: between an addition or pooling and a ReLU",
    ),
    (
        "DenseNet121",
        {"input_shape": (64, 64, 3)},
        121,
        62,
        "between a concatenation, used again later, and a ReLU",
    ),
    ("InceptionV3", {"input_shape": (75, 75, 3)}, 94, 0, ""),
    ("InceptionResNetV2", {"input_shape": (75, 75, 3)}, 204, 0, ""),
    ("Xception", {"input_shape": (71, 71, 3)}, 40, 0, ""),
    ("EfficientNetB0", {"input_shape": (64, 64, 3)}, 49, 0, ""),
    ("EfficientNetV2B0", {"input_shape": (64, 64, 3)}, 59, 0, ""),
    ("NASNetMobile", {"input_shape": (64, 64, 3)}, 192, 0, ""),
    ("VGG16", {"input_shape": (64, 64, 3)}, 0, 0, "it has none"),
    ("ConvNeXtTiny", {"input_shape": (64, 64, 3)}, 0, 0, "it has none"),
]
FAST = ("MobileNetV2",)


def build_with_random_normalization(name, arguments):
    """The model without its softmax, every BatchNormalization moved well off the identity.

    Statistics drawn blindly would let the activations of 50 layers overflow or vanish, so each layer's are
    measured on a batch, after gamma and beta are drawn, and then moved by random factors.
    """
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    model = build(weights=None, classes=10, classifier_activation=None, **arguments)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    random = np.random.default_rng(0)
    for layer in layers:
        layer.momentum, momentum = 0.0, layer.momentum
        signs = random.choice([-1.0, 1.0], layer.moving_mean.shape)
        if layer.scale:
            gamma = signs * random.uniform(0.5, 1.5, signs.shape)
            gamma[0] = 0.0
            layer.gamma.assign(gamma)
        if layer.center:
            layer.beta.assign(0.3 * random.normal(size=signs.shape))
        layer.true_momentum = momentum
    images = random_inputs(model, [(8, *arguments["input_shape"])], seed=1)
    model(images, training=True)
    for layer in layers:
        layer.momentum = layer.true_momentum
        variance = np.asarray(layer.moving_variance)
        layer.moving_mean.assign_add(0.3 * np.sqrt(variance) * random.normal(size=variance.shape))
        # A channel that hardly varied in these few images would be blown up on others.
        layer.moving_variance.assign(variance * random.uniform(0.5, 2.0, variance.shape) + 0.1 * variance.mean())
    return model


def count_normalizations(model):
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "arguments", "before", "after", "reason"),
    [pytest.param(*family, id=family[0], marks=() if family[0] in FAST else pytest.mark.slow) for family in FAMILIES],
)
def test_fold_leaves_no_foldable_normalization_and_the_same_outputs(name, arguments, before, after, reason):
    model = build_with_random_normalization(name, arguments)
    assert count_normalizations(model) == before
    folded, report = fold(model)
    print(f"{name}: {before} -> {count_normalizations(folded)}, {report.max_relative_difference:.2g}")
    assert count_normalizations(folded) == after, reason
    assert len(report.kept) == after
    assert report.max_relative_difference <= TOLERANCE
