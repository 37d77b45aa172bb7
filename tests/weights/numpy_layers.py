"""PyTorch's layers at inference in NumPy, from the formulas of its documentation: images are `(n, channels, h, w)`.

Slow and plain, in float64, and nothing of it is Keras': what an imported network is compared with.
"""

import numpy as np


def conv(x, weight, bias=None, stride=1, padding=0, groups=1):
    """`torch.nn.functional.conv2d`: out[f, i, j] = sum of w[f, c, u, v] x[c, s i + u, s j + v], zeros around."""
    x = np.pad(np.asarray(x, "float64"), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    filters, inside, height, width = weight.shape
    rows, columns = (x.shape[2] - height) // stride + 1, (x.shape[3] - width) // stride + 1
    out = np.zeros((len(x), filters, rows, columns))
    each = filters // groups
    for group in range(groups):
        part = x[:, group * inside : (group + 1) * inside]
        kernels = weight[group * each : (group + 1) * each].astype("float64")
        for u in range(height):
            for v in range(width):
                seen = part[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]
                out[:, group * each : (group + 1) * each] += np.einsum("nchw,fc->nfhw", seen, kernels[:, :, u, v])
    return out if bias is None else out + bias[:, None, None]


def norm(x, state, name, epsilon=1e-5):
    """`BatchNorm2d.eval()`: (x - mean) / sqrt(variance + epsilon) weight + bias."""
    mean, variance, weight, bias = (
        state[f"{name}.{kind}"].astype("float64")[:, None, None]
        for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + epsilon) * weight + bias


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.clip(x, 0, 6)


def max_pool(x, size, stride, padding=0):
    """`max_pool2d`: beyond the image there is nothing, not zero; places that do not fit are left out."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    rows, columns = (x.shape[2] - size) // stride + 1, (x.shape[3] - size) // stride + 1
    seen = [
        x[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]
        for u in range(size)
        for v in range(size)
    ]
    return np.max(seen, axis=0)


def mean(x):
    """`avg_pool2d` over all places, flattened: `(n, channels)`."""
    return x.mean((2, 3))


def linear(x, state, name):
    """`Linear`: x W^T + b."""
    return x @ state[f"{name}.weight"].astype("float64").T + state[f"{name}.bias"]


def same(x, size, stride):
    """TensorFlow's padding: as much as `ceil(side / stride)` places need, the odd pixel at the end."""
    needed = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
    return np.pad(x, ((0, 0), (0, 0), *((total // 2, total - total // 2) for total in needed)))
