"""`Benchmark`, the class of the benchmarks' commands."""

import os

import click

from dirac_keras.cli.group import bound_numbers
from dirac_keras.cli.speech.errors import explain
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import UserError
from dirac_keras.files.places import check_place

ABOVE_ZERO = click.FloatRange(min=0, min_open=True)  # `Benchmark` makes a range finite


class Benchmark(click.Command):
    """A command that says in one line what is wrong with its arguments or data, as `dirac-keras` does.

    It sees whether its `--json` can be written before it begins: what takes hours must not end there.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        bound_numbers(self)

    def invoke(self, ctx):
        """Run the command. Raises: click.ClickException: for an error that its reader can mend."""
        try:
            for option in self.params:
                if "--json" in option.opts and ctx.params[option.name]:
                    _check_file(ctx.params[option.name])
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except Exception as error:
            line = explain(error)
            if line is None:
                raise
            raise click.ClickException(spell_options(line, self)) from error


def _check_file(path):
    check_place(path, "--json")
    if os.path.isdir(path):
        raise UserError(f"--json: {path} is a folder. Give a file.")
