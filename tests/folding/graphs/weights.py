"""Weights that no fold can get right by chance."""

import numpy as np


def randomize(model, seed):
    """Gives weights random values: scales of both signs, statistics far from 0 and 1, kernels that keep variance."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        if "float" not in variable.dtype:  # the state of a random generator, a count
            continue
        name, shape = variable.path.split("/")[-1], tuple(variable.shape)
        if name in ("alpha", "multiplier", "dual_rate", "due_rate", "ramp", "step", "mean", "variance"):
            continue  # of a VariableSkip or a Normalization; a PReLU's alpha is small and harmless
        if "variance" in name:
            values = random.uniform(0.3, 3.0, shape)
        elif name in ("gamma", "filter_scale", "identity_scale"):
            values = random.uniform(0.4, 1.6, shape) * random.choice([-1.0, 1.0, 1.0], shape)
        elif len(shape) >= 2:
            values = random.normal(size=shape) / np.sqrt(max(1.0, np.prod(shape[:-1])))
        else:
            values = 0.5 * random.normal(size=shape)
        variable.assign(values.astype("float32"))
