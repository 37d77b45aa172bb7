"""`python -m dirac_keras.cli.shell.write_completion_table`: what completion reads, from the commands.

The commands import Keras; a shell that waits for a list of words cannot. A test holds the table against the commands.
"""

import importlib
import json
import pathlib

import rich_click as click

TABLE = pathlib.Path(__file__).with_name("completion_table.py")
HEAD = '''"""Commands, options and values for a shell; written by `dirac_keras.cli.shell.write_completion_table`."""

# fmt: off
# ruff: noqa: E501
'''
RUNS = ("model", "run", "runs")  # arguments that take the folder of a run, or a file
OF_DATA = ("data", "calibration", "gate_data", "corrupted")  # options that take the name of a data set
FOLDERS = ("workdir", "data_dir", "folder")
SENTENCE = 70  # characters of a help text: shells show one line


def table():
    """`{command: entry}`, and the names of data sets; see `completing`."""
    from dirac_keras.cli.program import COMMANDS
    from pipelines.datasets import known_names

    # Of `folder:PATH` the shell can complete the beginning alone.
    return _entries(COMMANDS), ["".join(name.partition(":")[:2]) for name in known_names()]


def text():
    """The module."""
    commands, data = table()
    lines = [HEAD, f"DATA = {json.dumps(data)}\n", "COMMANDS = {\n"]
    for name, entry in commands.items():
        lines.append(_block(name, entry, 1))
    return "".join([*lines, "}\n"])


def _block(name, entry, depth):
    indent = "    " * depth
    lines = [f"{indent}{json.dumps(name)}: {{\n", f'{indent}    "help": {_literal(entry["help"])},\n']
    if "commands" in entry:
        lines.append(f'{indent}    "commands": {{\n')
        lines += [_block(one, value, depth + 2) for one, value in entry["commands"].items()]
        lines.append(f"{indent}    }},\n")
    else:
        for part in ("arguments", "options"):
            lines.append(f'{indent}    "{part}": [\n')
            lines += [f"{indent}        {_literal(row)},\n" for row in entry[part]]
            lines.append(f"{indent}    ],\n")
    return "".join([*lines, f"{indent}}},\n"])


def _literal(value):
    return json.dumps(value, ensure_ascii=False)


def _entries(commands):
    return {name: _entry(module, function, help) for name, (module, function, help) in commands.items()}


def _entry(module, function, help):
    command = getattr(importlib.import_module(module), function)
    if isinstance(command, click.Group):
        return {"help": help, "commands": _entries(command.where)}
    arguments, options = [], []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            arguments.append([parameter.name, _kind(parameter), parameter.nargs])
        elif not parameter.hidden and parameter.name not in ("debug", "help"):
            flags = [*parameter.opts, *parameter.secondary_opts]
            options.append([flags, _kind(parameter), _first_sentence(parameter.help or "")])
    return {"help": help, "arguments": arguments, "options": options}


def _kind(parameter):
    """`"flag"`, a list of words, `"data"`, `"run"`, `"dir"`, `"file"` or `"text"`."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    if isinstance(parameter.type, click.Choice):
        return list(parameter.type.choices)
    is_argument = isinstance(parameter, click.Argument)
    if parameter.name in OF_DATA or (is_argument and parameter.name == "name"):
        return "data"
    if is_argument and parameter.name in RUNS:
        return "run"
    if parameter.name in FOLDERS:
        return "dir"
    if words := _words_of_field(parameter.name):
        return words
    if isinstance(parameter.type, click.Path):
        return "file" if parameter.type.file_okay else "dir"
    return "text"


def _words_of_field(name):
    """The words that a field of `TrainConfig` may be; None where it is a number or a text."""
    from dirac_keras.callbacks.trackers import NAMES, NO_TRACKER
    from dirac_keras.models.family import FAMILIES
    from dirac_keras.training.config import TrainConfig
    from pipelines.additions.grammar import ADDITIONS
    from pipelines.augmentation import NAMES as AUGMENTATIONS

    field = TrainConfig.__dataclass_fields__.get(name)
    if field is None:
        return None
    layouts = dict.fromkeys(layout for family in FAMILIES.values() for layout in family.layouts)
    own = {
        "family": list(FAMILIES), "layout": list(layouts), "tracker": [NO_TRACKER, *NAMES],
        "augmentation": [*AUGMENTATIONS, *ADDITIONS], "on_broken": ["fail", "skip"],
        "precision": ["auto", "float32", "bfloat16", "float16", "float64"],
        "parameterization": ["dirac", "dirac_unnormalized", "dirac_unscaled", "plain"],
        "activation": ["gelu", "relu"],
    }  # fmt: skip
    return own.get(name) or list(getattr(field.metadata["check"], "choices", ())) or None


def _first_sentence(text):
    sentence = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= SENTENCE else f"{sentence[: SENTENCE - 3].rstrip()}..."


if __name__ == "__main__":
    from dirac_keras.files.atomic import write_text

    write_text(TABLE, text())
