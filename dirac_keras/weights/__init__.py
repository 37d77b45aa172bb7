"""Weights from elsewhere: tensors of others' files in Keras networks, and presets by name."""

from dirac_keras.weights.importing import Imported, from_pretrained, import_weights
from dirac_keras.weights.presets import from_preset, preset_names

__all__ = ["Imported", "from_preset", "from_pretrained", "import_weights", "preset_names"]
