"""dirac_keras: very deep networks without skip connections, trained in Keras 3 and folded to plain chains."""

import importlib

from dirac_keras.moved import MOVED, announce_moves, describe_move
from dirac_keras.version import __version__ as __version__

# Public name -> module that defines it, imported when the name is first used (PEP 562).
_WHERE = {
    "SkipPhaseOut": "dirac_keras.phase_out",
    "TrainConfig": "dirac_keras.training.config",
    "assert_plain": "dirac_keras.folding",
    "diracify": "dirac_keras.conversion",
    "explain": "dirac_keras.explanation",
    "export": "dirac_keras.deployment",
    "features": "dirac_keras.graph.features",
    "fold": "dirac_keras.folding",
    "from_preset": "dirac_keras.weights",
    "from_pretrained": "dirac_keras.weights",
    "load_model": "dirac_keras.files.keras_file",
    "plainify": "dirac_keras.conversion",
    "undiracify": "dirac_keras.conversion",
}
_MODULES = ("layers", "models")

__all__ = [
    "SkipPhaseOut",
    "TrainConfig",
    "assert_plain",
    "diracify",
    "explain",
    "export",
    "features",
    "fold",
    "from_preset",
    "from_pretrained",
    "layers",
    "load_model",
    "models",
    "plainify",
    "undiracify",
]

announce_moves()


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"dirac_keras.{name}")
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    old = f"dirac_keras.{name}"
    if old in MOVED:
        raise AttributeError(describe_move(old, MOVED[old]))
    raise AttributeError(f"module 'dirac_keras' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
