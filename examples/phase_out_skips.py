"""Phase the skip connections out of a ResNet of your own, and fold it to a plain chain.

In this example you learn

- how `add_variable_skip` replaces `Add` in a residual block: the skip connection becomes `(1 - alpha) x`,
- how the callback `SkipPhaseOut` takes alpha from 0, a ResNet, to 1, no skip connection, while the network trains,
- how `fold` then removes the skip connections with their projections, and `assert_plain` proves it.

    python examples/phase_out_skips.py --blocks 6 --epochs 20
"""

import argparse

import keras
from sklearn.datasets import load_digits

from dirac_keras import SkipPhaseOut, assert_plain, fold
from dirac_keras.layers import BatchNormalization, add_variable_skip

parser = argparse.ArgumentParser()
parser.add_argument("--blocks", default=6, type=int, help="number of residual blocks")
parser.add_argument("--epochs", default=20, type=int)
parser.add_argument("--output", default="plain.keras")
options = parser.parse_args()

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)  # 1,797 handwritten digits of 8x8 pixels
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16


def residual(x, filters):
    """Two convolutions, each with its normalization before the ReLU."""
    for _ in range(2):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(BatchNormalization(momentum=0.9)(x))
    return x


# As any ResNet, but for `add_variable_skip` where `keras.layers.Add` would stand.
inputs = keras.Input((8, 8, 1))
x = keras.layers.Conv2D(16, 1, use_bias=False)(inputs)
for block in range(options.blocks):
    x = add_variable_skip(residual(x, 16), x, name=f"block{block + 1}")
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(10)(x))

loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])

# The skip connections fade evenly over the first half; the second half trains the plain network that is left.
phase_out = SkipPhaseOut(fraction=0.5, end_epoch=options.epochs / 2)
model.fit(images, labels, batch_size=64, epochs=options.epochs, validation_split=0.2, verbose=2, callbacks=[phase_out])

# At the end the callback has set every alpha to exactly 1, so that nothing is left for the fold to approximate.
plain, report = fold(model)
assert_plain(plain)  # raises, with the name of the layer, where two tensors still meet
print(report)
plain.save(options.output)
