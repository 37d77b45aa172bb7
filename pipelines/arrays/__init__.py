"""The reader without TensorFlow: images as NumPy arrays, decoded and augmented by threads of this process.

It is what runs on JAX and PyTorch read with, also where TensorFlow is installed. Whole pixels are those of the reader
in TensorFlow; its training batches are others, since their random choices are those of `pipelines.draws`.
"""
