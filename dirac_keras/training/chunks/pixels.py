"""From stored images to a training batch on the device, inside the compiled step (JAX)."""

import numpy as np


def pad(images, padding, mode):
    """Stored images with a border, so that a shifted one is a window of them.

    Args:
        images: `(m, h, w, c)` uint8.
        padding: int, pixels on every side.
        mode: "REFLECT" or "CONSTANT" (zeros).
    """
    if not padding:
        return images
    border = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return np.pad(images, border, mode=mode.lower())


def windows(images, rows, top, left, size):
    """One window of each of some images: `(batch, height, width, c)`.

    Args:
        images: `(m, H, W, c)`.
        rows, top, left: `(batch,)` int32: which image, and the window's corner in it.
        size: `(height, width)`.
    """
    import jax

    shape = (1, *size, images.shape[-1])

    def window(row, y, x):
        return jax.lax.dynamic_slice(images, (row, y, x, np.zeros((), row.dtype)), shape)[0]

    return jax.vmap(window)(rows, top, left)


def mirror(images, flips):
    """`(batch, h, w, c)`, those with `flips` `(batch,)` mirrored left to right."""
    import jax.numpy as jnp

    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def look_up(images, table):
    """The normalised value of every pixel, from a table `(256, c)` of all there are.

    The host normalizes by the same table, so both see the same floats: computed here, product and sum might be fused,
    which rounds once where the host rounds twice.
    """
    import jax.numpy as jnp

    return table[images.astype(jnp.int32), jnp.arange(images.shape[-1])]
