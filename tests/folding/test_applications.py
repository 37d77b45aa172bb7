"""`fold` on the families of keras.applications, with random BatchNormalization statistics."""

import keras
import pytest

from benchmarks.backbones_networks import application, randomize
from dirac_keras.folding import fold

# Accepted difference relative to the output's scale. float32 rounding through the deepest of these networks,
# with BatchNormalization and without, gives up to 1e-5; a wrong fold of a single layer gives 1e-2 or more.
TOLERANCE = 1e-4

# name, BatchNormalization layers before, and after with the reason why they stay
FAMILIES = [
    ("MobileNetV2", 52, 0, ""),
    ("MobileNet", 27, 0, ""),
    ("MobileNetV3Small", 34, 0, ""),
    ("ResNet50", 53, 0, ""),
    ("ResNet50V2", 49, 17, "pre-activation: between an addition or pooling and a ReLU"),
    ("DenseNet121", 121, 62, "between a concatenation, used again later, and a ReLU"),
    ("InceptionV3", 94, 0, ""),
    ("InceptionResNetV2", 204, 0, ""),
    ("Xception", 40, 0, ""),
    ("EfficientNetB0", 49, 0, ""),
    ("EfficientNetV2B0", 59, 0, ""),
    ("NASNetMobile", 192, 0, ""),
    ("VGG16", 0, 0, "it has none"),
    ("ConvNeXtTiny", 0, 0, "it has none"),
]
FAST = ("MobileNetV2",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after", "reason"),
    [pytest.param(*family, id=family[0], marks=() if family[0] in FAST else pytest.mark.slow) for family in FAMILIES],
)
def test_fold_leaves_no_foldable_normalization_and_the_same_outputs(name, before, after, reason):
    keras.utils.set_random_seed(0)
    _, report = fold(randomize(application(name)))
    print(f"{name}: {before} -> {report.normalizations_after}, {report.max_relative_difference:.2g}")
    assert (report.normalizations_before, report.normalizations_after) == (before, after), reason
    assert len(report.kept) == after
    assert report.shared == ()
    assert report.max_relative_difference <= TOLERANCE
