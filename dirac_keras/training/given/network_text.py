"""A network without its weights as text: what a run keeps of the file that it started from."""

import json

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.records import read_sealed, sealed
from dirac_keras.training.given.preparing import prepared

_WAY_OUT = "Restore it, or give `overwrite=True` to begin the run anew."


def network_text(config, spec, policy):
    """The text of the network that a training starts from, made ready for its data.

    Args:
        config: `TrainConfig` of family "file".
        spec: of its data.
        policy: str, Keras' dtype policy.
    """
    model = prepared(config, spec, policy)[0]
    return json.dumps(sealed({"model": keras.saving.serialize_keras_object(model)})) + "\n"


def build_from_text(text):
    """A `keras.Model` of the text of `network_text`, with random weights. No code in it is run."""
    try:
        return keras.saving.deserialize_keras_object(json.loads(text)["model"], safe_mode=True)
    except Exception as error:  # of whatever kind: classes of others are made here
        raise UserError(
            f"start: the network that the run keeps cannot be built: {type(error).__name__}: {str(error)[:300]}. "
            "Register its classes (keras.saving.register_keras_serializable) before you call `train`."
        ) from error


def read_network(path):
    """The text of `network_text` in a file, None if there is none. Raises: UserError: if it is damaged."""
    if not path.exists():
        return None
    read_sealed(path, dict, "the network of a run", _WAY_OUT)
    return path.read_text(encoding="utf-8")
