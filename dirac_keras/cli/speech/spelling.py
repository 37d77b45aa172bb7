"""From the library's words to the command's: arguments in backquotes become the command's options."""

import ast
import re
import shlex

import rich_click as click

_QUOTED = re.compile(r"`([^`]+)`")
_IN_RECORD = re.compile(r"[A-Z]\w*\((\w+=[^()]*)\)")  # a field, such as that of a `Teaching`, is an option too
_ARGUMENT = re.compile(r"([A-Za-z_]\w*)(?:\s*=\s*(.+))?", re.DOTALL)


def spell_options(message, command):
    """Write the arguments that a message names as options of a command.

    | in the message | at the command line |
    |---|---|
    | `` `workdir` `` | `--workdir` |
    | `` `overwrite=True` `` | `--overwrite` |
    | `` `with_export=False` `` | `--no-export` |
    | `` `on_broken="skip"` `` | `--on-broken skip` |
    | `` `Teaching(teacher=False)` `` | `--no-teacher` |
    | `` `workers=["a:1", "b:2"]` `` | `--workers a:1,b:2` |

    What else stands in backquotes loses nothing but these; what stands outside stays as it is.

    Args:
        message: str.
        command: `click.Command` that ran, or None.
    """
    options = _options_by_name(command)

    def spell(match):
        field = _IN_RECORD.fullmatch(match[1])
        argument = _ARGUMENT.fullmatch(field[1] if field else match[1])
        option = options.get(argument[1]) if argument else None
        words = option and _spell_option(option, argument[2])
        return words or match[1]

    return _QUOTED.sub(spell, message)


def _options_by_name(command):
    """Options by the name that the command's function gives them, and by their flag in Python's spelling."""
    options = [option for option in getattr(command, "params", ()) if isinstance(option, click.Option)]
    by_flag = {_flag(option.opts).removeprefix("--").replace("-", "_"): option for option in options}
    return by_flag | {option.name: option for option in options}


def _flag(spellings):
    """The long one of an option's spellings."""
    return max(spellings, key=len)


def _spell_option(option, text):
    """The option with a value in Python's spelling, or None if it takes no such value."""
    flag = _flag(option.opts)
    if text is None:
        return flag
    value = _value(text)
    if option.is_flag:
        if value is True:
            return flag
        return _flag(option.secondary_opts) if value is False and option.secondary_opts else None
    if isinstance(value, (list, tuple)):
        words = [_word(part) for part in value]
        if not words or None in words:
            return None
        if option.multiple:
            return " ".join(f"{flag} {shlex.quote(word)}" for word in words)
        return f"{flag} {shlex.quote(','.join(words))}"
    word = _word(value)
    return None if word is None else f"{flag} {shlex.quote(word)}"


def _value(text):
    """What a Python literal stands for; None for anything else. A bare name, as in `data=NAME`, is a placeholder."""
    if text.isidentifier() and text not in ("True", "False", "None"):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _word(value):
    """A number or a text as one word of a command line; None for what has no such word."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value)
