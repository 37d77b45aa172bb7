"""Dirac layers in a model of your own: deep without skip connections, and plain once it is trained.

In this example you learn

- how `DiracConv2D` takes the place of `Conv2D`: its kernel is `diag(a) I + diag(b) W_norm`, which begins close to the
  identity, so the signal passes many layers,
- that the model compiles, fits and saves as any Keras model does,
- how `fold` turns it into ordinary convolutions with the same outputs, which load without this package.

    python examples/dirac_layers.py --depth 30 --epochs 10
"""

import argparse

import keras
import numpy as np
from sklearn.datasets import load_digits

from dirac_keras import assert_plain, fold
from dirac_keras.layers import BatchNormalization, DiracConv2D

parser = argparse.ArgumentParser()
parser.add_argument("--depth", default=30, type=int, help="number of convolutions")
parser.add_argument("--epochs", default=10, type=int)
parser.add_argument("--output", default="plain.keras")
options = parser.parse_args()

keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)  # 1,797 handwritten digits of 8x8 pixels
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16

# A chain: convolution, normalization, ReLU, again and again. No two tensors are ever added.
inputs = keras.Input((8, 8, 1))
x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
for _ in range(options.depth - 1):
    x = keras.layers.ReLU()(BatchNormalization(momentum=0.9)(x))
    x = DiracConv2D(16, 3, padding="same", use_bias=False)(x)
x = keras.layers.ReLU()(BatchNormalization(momentum=0.9)(x))
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, keras.layers.Dense(10)(x))

model.compile(
    keras.optimizers.Adam(0.005),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(images, labels, batch_size=64, epochs=options.epochs, validation_split=0.2, verbose=2)

# Each Dirac kernel becomes one ordinary kernel, and each normalization moves into the convolution before it.
plain, report = fold(model)
assert_plain(plain)
print(report)
difference = np.abs(plain.predict(images, verbose=0) - model.predict(images, verbose=0)).max()
print(f"{len(model.layers)} layers became {len(plain.layers)}; largest difference of the outputs {difference:.1e}")

plain.save(options.output)  # keras.saving.load_model reads it where dirac_keras is not installed
