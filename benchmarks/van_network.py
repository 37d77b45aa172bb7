"""A VAN trained under a `Reading` of its text: eq. 7 and 8 beside the weights' SGD, in one compiled step (TensorFlow).

Here alpha, its velocity and lambda are in the hands of the benchmark, not of `VariableSkip`, so that every reading can
be carried out; "as it stands" is what the package does, which a test holds it against.
"""

import keras
import numpy as np

from benchmarks.van_readings import GONE, Reading, layer_gradients
from dirac_keras.phase_out import find_skips
from dirac_keras.training.building import build_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.optimization.losses import SmoothedCrossentropy
from dirac_keras.training.optimization.optimizers import CoupledSGD

# Networks beside the readings: alpha held at a value, or trained by the cost alone.
HELD = {"ResNet": 0.0, "plain": 1.0}


class VanTraining:
    """A network, its optimizer and its alphas.

    Args:
        config: `TrainConfig` of a VAN with `skip_constraint=False`, whose recipe trains the weights.
        splits: `pipelines.Splits`.
        setting: `van_readings.Setting` of that training.
        reading: `Reading`; a name of `HELD` holds alpha where it is.
    """

    def __init__(self, config, splits, setting, reading):
        import tensorflow as tf

        self.setting, self.reading = setting, reading
        keras.utils.set_random_seed(config.seed)
        self.model = build_model(config, splits.spec)
        skips = list(find_skips(self.model).values())
        self.alphas = [skip.alpha for skip in skips]
        held = {id(alpha) for alpha in self.alphas}
        self.weights = [weight for weight in self.model.trainable_variables if id(weight) not in held]
        self.rate = tf.Variable(setting.rate)
        self.optimizer = CoupledSGD(setting.rate, config.momentum, l2=config.weight_decay)
        self.optimizer.build(self.weights)
        loss = SmoothedCrossentropy(config.label_smoothing)

        def step(images, labels):
            with tf.GradientTape() as tape:
                outputs = self.model(images, training=True)
                cost = tf.reduce_mean(loss.call(labels, outputs))
            gradients = tape.gradient(cost, [v.value for v in self.weights + self.alphas])
            own, others = gradients[: len(self.weights)], gradients[len(self.weights) :]
            self.optimizer.apply(own)
            hits = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(outputs, -1), tf.cast(labels, tf.int64)), tf.float32))
            return cost, hits, others

        self._step = tf.function(step)
        if isinstance(reading, str):
            for alpha in self.alphas:
                alpha.assign(np.full(alpha.shape, HELD[reading], "float32"))
        else:
            self.velocity = [np.zeros(alpha.shape) for alpha in self.alphas]
            self.multiplier = [np.full(alpha.shape, reading.start) for alpha in self.alphas]
        self.residuals = [self.residual()]
        self.done = 0

    def residual(self):
        """Mean over layers of `mean((1 - alpha)^2)`."""
        return float(np.mean([np.mean(np.square(1 - keras.ops.convert_to_numpy(alpha))) for alpha in self.alphas]))

    def step(self, images, labels):
        """One step of the weights, of alpha and of lambda. Returns: cost, share of hits, gradients by alpha."""
        epoch = self.done // self.setting.steps_per_epoch
        rate = self.setting.rate_at(epoch)
        self.optimizer.learning_rate.assign(rate)
        cost, hits, gradients = self._step(images, labels)
        gradients = [np.asarray(one) for one in gradients]
        self.done += 1
        if isinstance(self.reading, Reading):
            self._move(gradients, self.reading.alpha_rate or rate)
            self.residuals.append(self.residual())
        return float(cost), float(hits), gradients

    def _move(self, gradients, rate):
        """Eq. 7 and 8, as `van_readings.simulate` has them."""
        reading, setting = self.reading, self.setting
        is_end = self.done % setting.steps_per_epoch == 0
        if reading.linear_end is not None:
            share = min(1.0, self.done / (reading.linear_end * setting.epochs * setting.steps_per_epoch))
            for alpha in self.alphas:
                alpha.assign(np.full(alpha.shape, share, "float32"))
            return
        pulls = layer_gradients(reading, gradients, setting.batch_size)
        share = 1 / sum(one.size for one in pulls) if reading.averaged else 1.0
        momentum = setting.momentum if reading.has_momentum else 0.0
        fraction = setting.fraction if reading.fraction is None else reading.fraction
        for k, (alpha, pull) in enumerate(zip(self.alphas, pulls, strict=True)):
            if reading.alpha_each == "step" or is_end:
                pull = pull + (2 if reading.twice else 1) * share * self.multiplier[k]
                self.velocity[k] = momentum * self.velocity[k] - rate * pull
                alpha.assign(np.clip(keras.ops.convert_to_numpy(alpha) + self.velocity[k], 0.0, 1.0))
            if reading.multiplier_each == "step" or is_end:
                left = keras.ops.convert_to_numpy(alpha) - 1.0
                self.multiplier[k] = self.multiplier[k] + fraction * rate * left

    def gone_step(self):
        """The first step after which the mean residual is below `GONE`; None if it is not."""
        return next((step for step, residual in enumerate(self.residuals) if residual < GONE), None)

    def accuracy(self, batches):
        """Share of hits over batches, as at inference."""
        hits = [
            np.argmax(keras.ops.convert_to_numpy(self.model(images, training=False)), -1) == np.asarray(labels)
            for images, labels in batches
        ]
        return float(np.mean(np.concatenate(hits)))


def van_config(data, layout, depth, setting, **fields):
    """`TrainConfig` of a VAN whose alphas this benchmark moves."""
    recipe = "van_dense" if layout == "dense" else "van"
    return TrainConfig(
        data=data, family="van", layout=layout, depth=depth, recipe=recipe, skip_constraint=False,
        epochs=setting.epochs, batch_size=setting.batch_size, precision="float32", **fields
    )  # fmt: skip


def measure_gradients(training, batches, at_steps):
    """dC/dalpha of a network with all its skips while it trains.

    Args:
        training: `VanTraining` with `"ResNet"`.
        batches: iterable of `(images, labels)`.
        at_steps: rising ints, after which to measure; the mean over ten batches.

    Returns: dict, step -> list of arrays, a layer each.
    """
    found, recent = {}, []
    for step, (images, labels) in enumerate(batches):
        *_, gradients = training.step(images, labels)
        recent.append(gradients)
        if step + 1 - 10 in at_steps:  # those of the ten steps after it
            found[step + 1 - 10] = [np.mean(layers, axis=0) for layers in zip(*recent[-10:], strict=True)]
        if len(found) == len(at_steps):
            return found
    return found
