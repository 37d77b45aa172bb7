"""A classifier's outputs as probabilities: what they are is told by its graph, by its numbers, or by the user."""

import dataclasses

import keras
import numpy as np
from scipy.special import expit, softmax

from dirac_keras.deployment.classifier import find_units, image_shape_of
from dirac_keras.errors import UserError
from dirac_keras.graph.functional import has_graph
from dirac_keras.graph.sizes import working_shapes
from dirac_keras.graph.softmax import kind_of_outputs

LOGITS, PROBABILITIES = "logits", "probabilities"
OUTPUTS = (LOGITS, PROBABILITIES)
CLASSES, LABELS, VALUES = "classes", "labels", "values"  # tasks, of `metadata["data"]["task"]`
# Rows of probabilities sum to 1 but for rounding: of float16 or bfloat16 in the worst case.
SUM_TOLERANCE = 2e-2
_ASK = 'Give `outputs="probabilities"` or `outputs="logits"`'


@dataclasses.dataclass(frozen=True)
class Head:
    """What a classifier gives.

    Attributes:
        gives: `"logits"` or `"probabilities"`; of values `"values"`.
        units: int, numbers an image. One unit is the second of two classes.
        is_asked: bool, whether the user said it; then numbers that look otherwise are no error.
        task: `"classes"`: an image has one, and the probabilities of all sum to 1; `"labels"`: it has each of them or
            not, and each probability is the sigmoid of its logit; `"values"`: the numbers are what is wanted.
    """

    gives: str
    units: int
    is_asked: bool = False
    task: str = CLASSES

    @property
    def is_binary(self):
        return self.units == 1 and self.task == CLASSES

    @property
    def classes(self):
        return max(self.units, 2) if self.task == CLASSES else self.units

    def answers(self, outputs):
        """What is answered for each image, `(batch,)` or `(batch, units)`: its class, its labels, its values.

        Args:
            outputs: logits, probabilities or values, as `gives` says.
        """
        if self.task == VALUES:
            return outputs
        if self.task == LABELS or outputs.shape[-1] == 1:
            return outputs > (0.5 if self.gives == PROBABILITIES else 0.0)
        return outputs.argmax(-1)

    def probabilities(self, outputs):
        """`(batch, classes)` float64.

        Raises: ValueError: if the numbers show that the outputs are something else.
        """
        outputs = np.asarray(outputs, "float64")
        if self.task == VALUES:
            raise UserError("outputs: the model gives values, which have no probabilities.")
        self._check(outputs)
        if self.task == LABELS:
            return outputs if self.gives == PROBABILITIES else expit(outputs)
        if self.is_binary:
            second = outputs if self.gives == PROBABILITIES else expit(outputs)
            return np.concatenate([1.0 - second, second], axis=-1)
        return outputs if self.gives == PROBABILITIES else softmax(outputs, axis=-1)

    def _check(self, outputs):
        if not np.isfinite(outputs).all():
            count = int(np.sum(~np.isfinite(outputs).all(axis=-1)))
            raise UserError(
                f"the model's outputs are not finite (NaN or infinite) for {count} of {len(outputs)} images: its "
                "weights, its precision or what it is fed with (`input`) is wrong."
            )
        if self.is_asked:
            return
        if self.task == LABELS:
            if self.gives == PROBABILITIES and not (
                outputs.min() >= -SUM_TOLERANCE and outputs.max() <= 1 + SUM_TOLERANCE
            ):
                raise UserError(f"the model's outputs end in a sigmoid and yet leave 0 to 1. {_ASK}.")
            return
        if self.gives == PROBABILITIES and not (are_probabilities(outputs) or self.is_binary):
            raise UserError(f"the model's outputs end in a softmax and yet do not sum to 1. {_ASK}.")
        if self.gives == LOGITS and not self.is_binary and len(outputs) > 1 and are_probabilities(outputs):
            raise UserError(f"the model's outputs look like probabilities already: each row sums to 1. {_ASK}.")


def are_probabilities(rows):
    """Whether each row `(classes,)` lies in 0 to 1 and sums to 1."""
    rows = np.asarray(rows, "float64")
    inside = (rows >= -SUM_TOLERANCE) & (rows <= 1.0 + SUM_TOLERANCE)
    return bool(rows.shape[-1] > 1 and inside.all() and (np.abs(rows.sum(axis=-1) - 1.0) < SUM_TOLERANCE).all())


def find_head(model, outputs=None, task=CLASSES):
    """The `Head` of a classifier.

    The graph says it where it ends in known steps. Else the model is run on random images: what sums to 1 each time
    are probabilities; what leaves 0 to 1 are logits.

    Args:
        model: `keras.Model` with one output `(batch, units)`.
        outputs: `"logits"` or `"probabilities"`, or None.
        task: of the data that it was trained on, see `Head`.

    Raises: ValueError: if it is not known, or `outputs` is neither.
    """
    if outputs is not None and outputs not in OUTPUTS:
        raise UserError(f'outputs must be "logits" or "probabilities". Received outputs={outputs!r}.')
    units = find_units(model)
    if task == VALUES:
        return Head(VALUES, units, task=task)
    if outputs is not None:
        return Head(outputs, units, True, task)
    kind = kind_of_outputs(model)
    if task == LABELS:
        return _of_labels(model, units, kind)
    if units == 1:
        if kind == "softmax":
            raise UserError(
                "the model ends in a softmax over one unit, which is 1 whatever the image: it is no classifier."
            )
        if kind in ("sigmoid", "logits"):
            return Head(PROBABILITIES if kind == "sigmoid" else LOGITS, units)
    elif kind == "sigmoid":
        raise UserError(
            f"the model ends in a sigmoid for each of {units} classes: no distribution over the classes. {_ASK}: "
            "probabilities are taken as they are; logits go through a softmax."
        )
    elif kind is not None:  # the softmax of log-probabilities gives the probabilities
        return Head(PROBABILITIES if kind == "softmax" else LOGITS, units)
    return Head(_measured(model, units), units)


def _of_labels(model, units, kind):
    if kind in ("softmax", "log_softmax"):
        raise UserError(
            f"the model ends in a {kind} over {units} labels, of which an image may have several. Give `data` with one "
            "class for each image, or a model that ends in a sigmoid or in logits."
        )
    if kind is None and not (_measured_rows(model) < -SUM_TOLERANCE).any():
        raise UserError(f"outputs: whether the model gives probabilities or logits cannot be read off it. {_ASK}.")
    return Head(PROBABILITIES if kind == "sigmoid" else LOGITS, units, task=LABELS)


def _measured_rows(model):
    """What the model gives for random images, `(rows, units)`; no rows where it cannot be run."""
    try:
        batches = [_run(model, scale) for scale in (1.0, 255.0)]
    except Exception:  # another's code runs here, on what it may not take
        batches = []
    finite = [rows for rows in batches if np.isfinite(rows).all()]  # a softmax by hand overflows on large numbers
    return np.concatenate(finite) if finite else np.zeros((0, 1))


def _measured(model, units):
    rows = _measured_rows(model)
    if not len(rows):
        raise UserError(f"outputs: whether the model gives probabilities or logits cannot be read off it. {_ASK}.")
    if are_probabilities(rows):
        return PROBABILITIES
    if are_probabilities(np.exp(np.minimum(rows, 1.0))):
        return LOGITS  # log-probabilities, which their softmax turns into probabilities
    if rows.min() < -SUM_TOLERANCE or rows.max() > 1.0 + SUM_TOLERANCE:
        return LOGITS
    raise UserError(
        "outputs: the model's last step is not known, and its outputs, between 0 and 1, could be probabilities"
        f"{'' if units == 1 else ' that do not sum to 1'} or logits. {_ASK}."
    )


def _run(model, scale):
    (shape,) = working_shapes(model) if has_graph(model) else [(4, *image_shape_of(model))]
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    images = np.random.default_rng(0).uniform(0.0, scale, shape)
    (rows,) = keras.tree.flatten(model(keras.ops.cast(images, dtype), training=False))
    return keras.ops.convert_to_numpy(keras.ops.cast(rows, "float32"))


def task_of(data):
    """The task that the record of a data set names; `"classes"` where it names none.

    Args:
        data: dict `metadata["data"]`, or None.
    """
    return (data or {}).get("task", CLASSES)
