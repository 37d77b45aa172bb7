"""Batch normalization with TensorFlow's fused kernel where it applies."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="dirac_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, the same numbers, with TensorFlow's fused kernel.

    Keras 3 computes batch normalization on TensorFlow from a dozen element-wise operations. The fused kernel is
    several times faster, forward and backward. It is used under the TensorFlow backend for the last axis of inputs
    of rank 2 to 5; other axes, backends, masks and `renorm=True` take the Keras path.

    With `synchronized=True`, training on several TensorFlow replicas takes the statistics over all their batches: the
    mean, then the mean square of what is left, each summed over the replicas. (Keras' own subtracts two large sums,
    which costs digits.) On one device and in inference `synchronized` changes nothing.

    Args, Input and Output shape: as `keras.layers.BatchNormalization`.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167. Moving statistics follow Keras: the variance is the batch's own,
        without Bessel's correction.
    """

    def call(self, inputs, training=None, mask=None):
        training = bool(training) and self.trainable
        if mask is None and self._is_fusable(inputs):
            if training and self._must_synchronize():
                return self._synchronized_call(inputs)
            return self._fused_call(inputs, training=training)
        return super().call(inputs, training=training, mask=mask)

    def _is_fusable(self, inputs):
        rank = len(inputs.shape)
        return (
            keras.backend.backend() == "tensorflow"
            and self.axis in (-1, rank - 1)
            and 2 <= rank <= 5
            and not getattr(self, "renorm", False)  # newer than the oldest Keras we run on
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
            and self.compute_dtype in ("float16", "bfloat16", "float32")
            and self.variable_dtype == "float32"
        )

    def _must_synchronize(self):
        import tensorflow as tf

        return self.synchronized and tf.distribute.get_strategy().num_replicas_in_sync > 1

    def _synchronized_call(self, inputs):
        import tensorflow as tf

        def mean_of_all(tensor, count):
            total = tf.reduce_sum(tensor, axis=list(range(len(tensor.shape) - 1)))
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total) / count

        x = tf.cast(inputs, "float32")
        replicas = tf.distribute.get_strategy().num_replicas_in_sync  # whose batches are of one size
        count = tf.cast(tf.size(x) // inputs.shape[-1] * replicas, "float32")
        mean = mean_of_all(x, count)
        variance = mean_of_all(tf.square(x - mean), count)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.stop_gradient(batch) * (1.0 - self.momentum))
        outputs = tf.nn.batch_normalization(
            x,
            mean,
            variance,
            tf.convert_to_tensor(self.beta) if self.center else None,
            tf.convert_to_tensor(self.gamma) if self.scale else None,
            self.epsilon,
        )
        return tf.cast(outputs, inputs.dtype)

    def _fused_call(self, inputs, training):
        import tensorflow as tf

        shape = ops.shape(inputs)
        channels = inputs.shape[-1]
        images = inputs if len(shape) == 4 else tf.reshape(inputs, (-1, 1, 1, channels))  # the kernel wants rank 4
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels),
            # In training the kernel mixes these into a running average of its own (factor 1: not at all).
            mean=tf.zeros(0) if training else tf.convert_to_tensor(self.moving_mean),
            variance=tf.zeros(0) if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            count = tf.cast(tf.size(images) // channels, "float32")
            batch_variance *= (count - 1.0) / tf.maximum(count, 1.0)  # takes Bessel's correction back
            for moving, batch in ((self.moving_mean, batch_mean), (self.moving_variance, batch_variance)):
                moving.assign(moving * self.momentum + tf.stop_gradient(batch) * (1.0 - self.momentum))
        return outputs if len(shape) == 4 else tf.reshape(outputs, shape)
