"""Modules, and names of modules that stay, under their old names: importing one says where it is now."""

import sys

# Module before 0.1.0 -> what holds its content now.
MOVED = {
    "dirac_keras.artifact": "dirac_keras.files.keras_file",
    "dirac_keras.averaging": "dirac_keras.training.averaging",
    "dirac_keras.building": "dirac_keras.training.building",
    "dirac_keras.checkpoints": "dirac_keras.training.checkpoints",
    "dirac_keras.checksum": "dirac_keras.files.checksum",
    "dirac_keras.config": "dirac_keras.training.config",
    "dirac_keras.costs": "dirac_keras.graph.costs",
    "dirac_keras.export": "dirac_keras.deployment",
    "dirac_keras.folding.graph": "dirac_keras.graph.trace",
    "dirac_keras.interruption": "dirac_keras.training.interruption",
    "dirac_keras.lock": "dirac_keras.files.lock",
    "dirac_keras.losses": "dirac_keras.training.losses",
    "dirac_keras.models.depths": "dirac_keras.models.family",
    "dirac_keras.nesting": "dirac_keras.graph.nested",
    "dirac_keras.observability": "dirac_keras.callbacks.timing",
    "dirac_keras.optimizers": "dirac_keras.training.optimizers",
    "dirac_keras.plots": "dirac_keras.callbacks.plots",
    "dirac_keras.position": "dirac_keras.training.position",
    "dirac_keras.recipes": "dirac_keras.training.recipes",
    "dirac_keras.result": "dirac_keras.training.result",
    "dirac_keras.resumption": "dirac_keras.training.resumable_fit",
    "dirac_keras.run_directory": "dirac_keras.training.run_directory",
    "dirac_keras.schedules": "dirac_keras.training.schedules",
    "dirac_keras.startup": "dirac_keras.files.stderr",
    "tuning.chief": "tuning.fleet.chief",
    "tuning.hparams": "tuning.report.hparams",
    "tuning.importance": "tuning.report.importance",
    "tuning.pareto": "tuning.report.pareto",
    "tuning.protocol": "tuning.fleet.protocol",
    "tuning.worker": "tuning.fleet.worker",
}
# Name of a module that is still there -> the module that has it now.
MOVED_NAMES = {
    "dirac_keras.callbacks.mean_scales": "dirac_keras.callbacks.scales",
    "dirac_keras.callbacks.read_table": "dirac_keras.files.tables",
    "dirac_keras.callbacks.write_table": "dirac_keras.files.tables",
    "dirac_keras.evaluation.evaluate": "dirac_keras.deployment.evaluation",
    "dirac_keras.evaluation.preprocessed_as": "dirac_keras.deployment.evaluation",
    "dirac_keras.evaluation.rank_files": "dirac_keras.deployment.evaluation",
    "dirac_keras.evaluation.read_image": "dirac_keras.deployment.evaluation",
    "dirac_keras.precision.to_dtype": "dirac_keras.graph.casting",
    "dirac_keras.precision.to_float32": "dirac_keras.graph.casting",
}


class MovedModules:
    """A finder for `sys.meta_path` that finds nothing: for an old name it raises, with the new one.

    Args:
        moved: dict, old name of a module -> its new name.
    """

    def __init__(self, moved):
        self.moved = moved

    def find_spec(self, name, path=None, target=None):
        if name in self.moved:
            # Without `name=`: `from package import module` would pass over a missing module of that name.
            raise ModuleNotFoundError(describe_move(name, self.moved[name]))
        return None


def describe_move(old, new):
    """One line with the old name and the new one."""
    return f"{old} has moved: import {new}"


def announce_moves():
    """Have the import of an old name say the new one, after all other finders have not found it."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules(MOVED))


def moved_names(module):
    """The `__getattr__` of a module that has lost names: it says where they are.

    It raises ImportError, for `from module import name` would replace the message of an AttributeError by its own.
    """

    def find(name):
        old = f"{module}.{name}"
        if old in MOVED_NAMES:
            raise ImportError(f"{old} has moved: import it from {MOVED_NAMES[old]}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find
