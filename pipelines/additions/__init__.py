"""What is done to training images beside shifts, flips and crops: operations on pixels, erased parts, mixed images.

One implementation, in NumPy and Pillow, serves both readers and gives both the same pixels. Keras' own layers would
not: they take a Python integer as their seed, or draw from a generator's state whatever the seed (`RandAugment`), where
batch `k` is to be a function of (seed, k) alone, inside tf.data too. By docs/augmentation.md `RandAugment` and
`RandomErasing` take eight times as long, `MixUp` and `RandomColorJitter` as long.
"""
