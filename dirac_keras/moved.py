"""Modules, and names of modules that stay, under their old names: importing one says where it is now."""

import sys

# Old name of a module -> what holds its content now.
MOVED = {
    "dirac_keras.artifact": "dirac_keras.files.keras_file",
    "dirac_keras.averaging": "dirac_keras.training.optimization.averaging",
    "dirac_keras.building": "dirac_keras.training.building",
    "dirac_keras.checkpoints": "dirac_keras.training.folder.checkpoints",
    "dirac_keras.checksum": "dirac_keras.files.checksum",
    "dirac_keras.config": "dirac_keras.training.config",
    "dirac_keras.costs": "dirac_keras.graph.costs",
    "dirac_keras.export": "dirac_keras.deployment",
    "dirac_keras.folding.graph": "dirac_keras.graph.trace",
    "dirac_keras.interruption": "dirac_keras.training.stepping.interruption",
    "dirac_keras.lock": "dirac_keras.files.lock",
    "dirac_keras.losses": "dirac_keras.training.optimization.losses",
    "dirac_keras.models.depths": "dirac_keras.models.family",
    "dirac_keras.nesting": "dirac_keras.graph.nested",
    "dirac_keras.observability": "dirac_keras.callbacks.timing",
    "dirac_keras.optimizers": "dirac_keras.training.optimization.optimizers",
    "dirac_keras.plots": "dirac_keras.callbacks.plots",
    "dirac_keras.position": "dirac_keras.training.stepping.position",
    "dirac_keras.recipes": "dirac_keras.training.recipes",
    "dirac_keras.result": "dirac_keras.training.result",
    "dirac_keras.resumption": "dirac_keras.training.stepping.resumable_fit",
    "dirac_keras.run_directory": "dirac_keras.training.folder.directory",
    "dirac_keras.schedules": "dirac_keras.training.optimization.schedules",
    "dirac_keras.startup": "dirac_keras.files.stderr",
    "dirac_keras.training.optimizers": "dirac_keras.training.optimization.optimizers",
    "dirac_keras.training.decoupled": "dirac_keras.training.optimization.decoupled",
    "dirac_keras.training.clipping": "dirac_keras.training.optimization.clipping",
    "dirac_keras.training.accumulation": "dirac_keras.training.optimization.accumulation",
    "dirac_keras.training.averaging": "dirac_keras.training.optimization.averaging",
    "dirac_keras.training.schedules": "dirac_keras.training.optimization.schedules",
    "dirac_keras.training.losses": "dirac_keras.training.optimization.losses",
    "dirac_keras.training.class_weights": "dirac_keras.training.optimization.class_weights",
    "dirac_keras.training.rate_finder": "dirac_keras.training.optimization.rate_finder",
    "dirac_keras.training.checkpoints": "dirac_keras.training.folder.checkpoints",
    "dirac_keras.training.identity": "dirac_keras.training.folder.identity",
    "dirac_keras.training.endings": "dirac_keras.training.folder.endings",
    "dirac_keras.training.origin": "dirac_keras.training.folder.origin",
    "dirac_keras.training.run_directory": "dirac_keras.training.folder.directory",
    "dirac_keras.training.run_records": "dirac_keras.training.folder.records",
    "dirac_keras.training.run_tables": "dirac_keras.training.folder.tables",
    "dirac_keras.training.execution": "dirac_keras.training.stepping.execution",
    "dirac_keras.training.steps": "dirac_keras.training.stepping.steps",
    "dirac_keras.training.resumable_fit": "dirac_keras.training.stepping.resumable_fit",
    "dirac_keras.training.position": "dirac_keras.training.stepping.position",
    "dirac_keras.training.interruption": "dirac_keras.training.stepping.interruption",
    "dirac_keras.training.threads": "dirac_keras.training.stepping.threads",
    "dirac_keras.training.freezing": "dirac_keras.training.start.freezing",
    "dirac_keras.training.layer_patterns": "dirac_keras.training.start.layer_patterns",
    "dirac_keras.training.start_weights": "dirac_keras.training.start.weights",
    "dirac_keras.training.starting": "dirac_keras.training.start.beginning",
    "dirac_keras.cli.data_check": "dirac_keras.cli.data.check",
    "dirac_keras.cli.data_show": "dirac_keras.cli.data.show",
    "dirac_keras.cli.data_picture": "dirac_keras.cli.data.picture",
    "dirac_keras.cli.runs_list": "dirac_keras.cli.runs.listing",
    "dirac_keras.cli.runs_prune": "dirac_keras.cli.runs.pruning",
    "dirac_keras.cli.reproduce_list": "dirac_keras.cli.reproduce.listing",
    "dirac_keras.cli.diagnose_quantization": "dirac_keras.cli.diagnose.quantization",
    "dirac_keras.cli.completing": "dirac_keras.cli.shell.completing",
    "dirac_keras.cli.completion": "dirac_keras.cli.shell.completion",
    "dirac_keras.cli.completion_table": "dirac_keras.cli.shell.completion_table",
    "dirac_keras.cli.write_completion_table": "dirac_keras.cli.shell.write_completion_table",
    "dirac_keras.cli.errors": "dirac_keras.cli.speech.errors",
    "dirac_keras.cli.output": "dirac_keras.cli.speech.output",
    "dirac_keras.cli.spelling": "dirac_keras.cli.speech.spelling",
    "dirac_keras.cli.telling": "dirac_keras.cli.speech.telling",
    "dirac_keras.cli.json_option": "dirac_keras.cli.speech.json_option",
    "dirac_keras.cli.process": "dirac_keras.cli.speech.process",
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
