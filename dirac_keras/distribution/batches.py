"""A global batch as the batches of the replicas: nothing twice, nothing lost."""


def padded(dataset, multiple):
    """Batches `(x, y, mask)` whose sizes are multiples of a number, from batches `(x, y)` of any size.

    A batch that is short is filled up with its own first example, which is masked: mask is 1 for examples, 0 for
    what fills. No replica is then without an example, which TensorFlow's kernels do not bear on a CPU.

    Args:
        dataset: `tf.data.Dataset`.
        multiple: int.
    """
    import tensorflow as tf

    def pad(x, y):
        size = tf.shape(y)[0]
        positions = tf.range(-(-size // multiple) * multiple)
        is_example = positions < size
        positions = tf.where(is_example, positions, 0)
        return tf.gather(x, positions), tf.gather(y, positions), tf.cast(is_example, tf.float32)

    return dataset.map(pad)


def part_of_worker(dataset, worker, num_workers):
    """The rows of one worker of every batch: of n equal parts, in order, the one with its index."""

    def part(*batch):
        rows = [_first_size(tensor) // num_workers for tensor in batch]
        return tuple(tensor[worker * n : (worker + 1) * n] for tensor, n in zip(batch, rows, strict=True))

    return dataset if num_workers == 1 else dataset.map(part)


def one_batch_a_replica(dataset, replicas):
    """Each batch as so many equal batches one after the other, as a worker hands them to its replicas."""
    import tensorflow as tf

    def split(*batch):
        shapes = [(replicas, _first_size(tensor) // replicas, *tensor.shape[1:]) for tensor in batch]
        return tf.data.Dataset.from_tensor_slices(tuple(map(tf.reshape, batch, shapes)))

    return dataset if replicas == 1 else dataset.flat_map(split)


def _first_size(tensor):
    """Length of the first axis, as a number where it is known: a replica's kernels are then planned for it."""
    import tensorflow as tf

    return tensor.shape[0] or tf.shape(tensor)[0]
