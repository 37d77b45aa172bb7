"""What a network is trained for: one class of an image, any of some labels, or numbers. Loss, metrics, figures."""

import logging

import keras
import numpy as np
from keras import ops

from dirac_keras.errors import UserError
from dirac_keras.training.optimization.losses import build_loss, build_metrics

logger = logging.getLogger("dirac_keras")
CLASSES, LABELS, VALUES = "classes", "labels", "values"
WHAT = {CLASSES: "one class for each image", LABELS: "several labels for an image", VALUES: "numbers for each image"}


def task_of(spec):
    """`"classes"`, `"labels"` or `"values"`; data that do not say it have classes."""
    return getattr(spec, "task", CLASSES)


def check_task(config, spec):
    """Raise UserError if a config asks for what the task of its data has not; what has no effect is logged.

    Args:
        config: `TrainConfig`.
        spec: of the data.
    """
    task = task_of(spec)
    if task != CLASSES and config.class_weights is not None:
        _refuse("class_weights", config.class_weights, "classes", spec)
    if task != CLASSES and config.test_time_augmentation != "none":
        _refuse("test_time_augmentation", config.test_time_augmentation, "classes", spec)
    if task != VALUES:
        return
    if config.loss != "crossentropy":
        _refuse("loss", config.loss, "classes or labels", spec)
    if config.label_smoothing:
        logger.info("label_smoothing %g has no effect on %s", config.label_smoothing, WHAT[task])


def _refuse(name, value, others, spec):
    raise UserError(
        f"{name} is for data with {others}; {spec.name} has {WHAT[task_of(spec)]}. Received {name}={value!r}: leave it "
        "out."
    )


def require_classes(spec, what):
    """Raise UserError unless each image of some data has one class.

    Args:
        spec: of the data.
        what: text, what needs it.
    """
    if task_of(spec) != CLASSES:
        raise UserError(
            f"data: {what} is for data with one class for each image; {spec.name} has {WHAT[task_of(spec)]}. Give "
            "other `data`."
        )


def task_loss(config, spec, class_weights=None):
    """The loss of a `TrainConfig` for the task of its data."""
    task = task_of(spec)
    if task == CLASSES:
        return build_loss(config, class_weights)
    if task == VALUES:
        return ScaledSquaredError(spec.value_std)
    if config.loss == "focal":
        gamma = config.focal_gamma
        return keras.losses.BinaryFocalCrossentropy(
            gamma=gamma, from_logits=True, label_smoothing=config.label_smoothing, name="focal"
        )
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)


def task_metrics(spec, num_classes):
    """The metrics that a network of so many outputs is trained and tested with."""
    task = task_of(spec)
    if task == CLASSES:
        return build_metrics(num_classes)
    if task == VALUES:
        return [keras.metrics.MeanAbsoluteError(name="mae")]
    return [LogitF1("macro", name="f1_macro"), LogitF1("micro", name="f1_micro"), ExactMatch(name="exact_match")]


def with_values(network, spec):
    """A network whose outputs are scaled to the mean and deviation of the training values, in their own units.

    Args:
        network: functional `keras.Model` whose outputs start near 0.
        spec: of data with values.
    """
    dtype = "float64" if network.outputs[0].dtype == "float64" else "float32"
    scale = keras.layers.Rescaling(list(spec.value_std), list(spec.value_mean), dtype=dtype, name="values")
    return keras.Model(network.inputs, scale(network.outputs[0]), name=network.name)


def takes_rows(model):
    """Whether a compiled model is trained on a row of labels or values for each image, not on its class."""
    of_rows = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy, ScaledSquaredError)
    return isinstance(getattr(model, "loss", None), of_rows)


def exact_figures(task, outputs, truth, names):
    """What only all test images together say: mean average precision of labels, R2 of values. Empty for classes.

    Args:
        task: str.
        outputs: `(images, names)`: logits of labels, or values.
        truth: `(images, names)`.
        names: of the labels or values.

    Returns: dict of `test_...`; a label that no test image has, or all have, does not count.
    """
    from dirac_keras.evaluation.labels import f1_scores, label_figures  # scikit-learn takes a second to import
    from dirac_keras.evaluation.values import value_figures

    if task == LABELS:
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(outputs.astype("float64"), -500, 500)))
        rows = label_figures(truth, probabilities, list(names))
        known = [row.average_precision for row in rows if row.average_precision is not None]
        macro, micro = f1_scores(truth, probabilities)
        return {
            "test_mean_average_precision": float(np.mean(known)) if known else None,
            "test_f1_macro": macro,
            "test_f1_micro": micro,
        }
    if task == VALUES:
        rows = value_figures(truth, outputs, names)
        known = [row.r2 for row in rows if row.r2 is not None]
        return {"test_r2": float(np.mean(known)) if known else None}
    return {}


@keras.saving.register_keras_serializable(package="dirac_keras")
class ScaledSquaredError(keras.losses.Loss):
    """Mean squared error of values in units of their deviation, so that a learning rate fits values of any size.

    Args:
        deviations: sequence of numbers above 0, one for each value.

    Call: `y_true` and `y_pred` `(batch, values)`.
    """

    def __init__(self, deviations, name="squared_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.deviations = [float(deviation) for deviation in deviations]

    def call(self, y_true, y_pred):
        scale = ops.convert_to_tensor(self.deviations, "float32")
        return ops.mean(((ops.cast(y_true, "float32") - ops.cast(y_pred, "float32")) / scale) ** 2, axis=-1)

    def get_config(self):
        return {**super().get_config(), "deviations": self.deviations}


@keras.saving.register_keras_serializable(package="dirac_keras")
class LogitF1(keras.metrics.F1Score):
    """F1 of labels whose probability, the sigmoid of a logit, is above 0.5; mixed labels count from a half on."""

    def __init__(self, average="macro", name="f1", dtype=None):
        super().__init__(average=average, threshold=0.5, name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(ops.cast(ops.cast(y_true, "float32") >= 0.5, "float32"), ops.sigmoid(y_pred),
                                    sample_weight)  # fmt: skip

    def get_config(self):
        return {"average": self.average, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="dirac_keras")
class ExactMatch(keras.metrics.Mean):
    """Share of images all of whose labels are right, at a probability of 0.5."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        right = ops.equal(ops.cast(y_true, "float32") >= 0.5, ops.cast(y_pred, "float32") > 0)
        return super().update_state(ops.cast(ops.all(right, axis=-1), "float32"), sample_weight)
