"""Rounding with a gradient: the straight-through estimator."""

from keras import ops


def straight_through(values, replaced):
    """`replaced` in the forward pass, the gradient of `values` in the backward pass.

    Source: Bengio, Leonard & Courville 2013, arXiv:1308.3432, section 4.
    """
    return values + ops.stop_gradient(replaced - values)


def round_to_grid(values, limit):
    """Integers from `-limit` to `limit`, as floats; the gradient is 1 within the limits and 0 beyond.

    Args:
        values: tensor in units of the grid.
        limit: int, the largest integer.
    """
    values = ops.clip(values, -limit, limit)
    return straight_through(values, ops.round(values))


def quantize_range(values, low, high, bits=8):
    """Values rounded to `2^bits` steps from `low` to `high`; the gradient is 1 within and 0 beyond.

    Zero is one of the steps, so the ends may move by half a step: as `fake.fake_quantize` does, which has no gradient.

    Args:
        values: tensor.
        low, high: scalar tensors; the range is widened to hold 0. An empty range leaves the values as they are.
        bits: int.

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3 and eq. 12.
    """
    levels = 2**bits - 1
    low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
    is_empty = ops.equal(low, high)
    scale = ops.where(is_empty, 1.0, (high - low) / levels)
    zero = ops.round(-low / scale)
    inside = ops.clip(values, -zero * scale, (levels - zero) * scale)
    rounded = ops.clip(ops.round(inside / scale), -zero, levels - zero) * scale
    return ops.where(is_empty, values, straight_through(inside, rounded))
