"""In a process with this folder on its PYTHONPATH TensorFlow is not found, as where it is not installed."""

import importlib.machinery

_find = importlib.machinery.PathFinder.find_spec


def _find_others(name, path=None, target=None):
    return None if name.partition(".")[0] == "tensorflow" else _find(name, path, target)


importlib.machinery.PathFinder.find_spec = staticmethod(_find_others)
