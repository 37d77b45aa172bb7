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


def inside(boxes, size):
    """`(batch, height, width, 1)` bool, which pixels lie in boxes `(batch, 4)` of (top, left, height, width)."""
    import jax.numpy as jnp

    top, left, height, width = (boxes[:, k, None] for k in range(4))
    rows, columns = jnp.arange(size[0]), jnp.arange(size[1])
    rows = (rows >= top) & (rows < top + height)
    columns = (columns >= left) & (columns < left + width)
    return rows[:, :, None, None] & columns[:, None, :, None]


def erase(images, boxes, fill):
    """`(batch, h, w, c)`, their boxes `(batch, 4)` filled with a level for each channel."""
    import jax.numpy as jnp

    return jnp.where(inside(boxes, images.shape[1:3]), jnp.asarray(fill, images.dtype), images)


def mix(images, shares, boxes):
    """Each image of a batch mixed with the next one, in 256ths of a level: `(batch, h, w, c)` int32.

    Whole numbers, so that they are the host's, see `pipelines.additions.mixing`.

    Args:
        images: `(batch, h, w, c)` uint8.
        shares: `(batch,)` int32 in 0..256, of the image itself.
        boxes: `(batch, 4)` int32, where the next image's pixels are taken as they are.
    """
    import jax.numpy as jnp

    own = images.astype(jnp.int32)
    others, shares = jnp.roll(own, -1, axis=0), shares[:, None, None, None]
    mixed = shares * own + (256 - shares) * others
    return jnp.where(inside(boxes, images.shape[1:3]), 256 * others, mixed)


def mix_labels(labels, shares, num_classes):
    """`(batch, classes)` float32: each label's share and the rest for the next one's.

    Args:
        labels: `(batch,)` classes, or rows `(batch, classes)`.
        shares: `(batch,)` float32.
        num_classes: int.
    """
    import jax
    import jax.numpy as jnp

    rows = jax.nn.one_hot(labels, num_classes, dtype="float32") if labels.ndim == 1 else labels.astype("float32")
    own = shares[:, None]
    return own * rows + (1 - own) * jnp.roll(rows, -1, axis=0)
