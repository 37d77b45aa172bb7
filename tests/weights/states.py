"""State dicts with the names and shapes of the libraries, small and random."""

import numpy as np


class State(dict):
    """A state dict that grows: names -> random float32 arrays of a fixed seed."""

    def __init__(self, seed=0):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def kernel(self, name, *shape):
        """Of He's size, so that no layer's outputs vanish."""
        self[name] = self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype("float32")
        return self

    def vector(self, name, count, low=-0.5, high=0.5):
        self[name] = self.rng.uniform(low, high, count).astype("float32")
        return self

    def conv(self, name, filters, inputs, size, bias=False):
        self.kernel(f"{name}.weight", filters, inputs, size, size)
        return self.vector(f"{name}.bias", filters) if bias else self

    def norm(self, name, count):
        """With statistics and scales that matter: a fresh one is nearly the identity."""
        self.vector(f"{name}.weight", count, 0.5, 1.5).vector(f"{name}.bias", count)
        self.vector(f"{name}.running_mean", count).vector(f"{name}.running_var", count, 0.5, 2.0)
        self[f"{name}.num_batches_tracked"] = np.array(7)
        return self

    def linear(self, name, outputs, inputs):
        return self.kernel(f"{name}.weight", outputs, inputs).vector(f"{name}.bias", outputs)


def images(side, seed=1, channels=3):
    """Two images, `(2, channels, side, side)`."""
    return np.random.default_rng(seed).normal(size=(2, channels, side, side)).astype("float32")
