"""Gradients that are clipped by the norm of all of them, which is one device's on replicas too."""

import keras
from keras import ops


class SummedClipping:
    """Clipping by the global norm of the gradient of the whole batch, before Keras' optimizer in the base classes.

    Keras clips before TensorFlow's replicas have summed their gradients, each by the norm of its own. Here the norm is
    that of the sum, so each replica's part is multiplied by the same factor. It costs another sum over the replicas.
    On JAX the gradients are the whole batch's already.
    """

    clips_sums = True  # see `distribution.checks`

    def _clip_gradients(self, grads):
        if not self.global_clipnorm:
            return super()._clip_gradients(grads)
        sums = _summed_over_replicas([gradient for gradient in grads if gradient is not None])
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in sums))
        most = float(self.global_clipnorm)  # TensorFlow multiplies no number of NumPy with a float32
        factor = most / ops.maximum(norm, most)
        factor = factor + (norm - norm)  # no number where the norm is none, as Keras has it: divergence is seen
        return [gradient if gradient is None else gradient * ops.cast(factor, gradient.dtype) for gradient in grads]


def _summed_over_replicas(gradients):
    if keras.backend.backend() != "tensorflow":
        return gradients
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return gradients
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
