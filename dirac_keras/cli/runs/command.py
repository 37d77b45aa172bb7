"""`dirac-keras runs DIR`: the list, unless the first word is another command of the group."""

import rich_click as click

from dirac_keras.cli.group import LazyGroup

# Command -> module, function, first sentence of its help text, as in `program`.
COMMANDS = {
    "list": (
        "dirac_keras.cli.runs.listing",
        "list_command",
        "List the runs in a folder: what was trained, how far it is, what it reached.",
    ),
    "prune": (
        "dirac_keras.cli.runs.pruning",
        "prune_command",
        "Remove the checkpoints of runs that have ended, after a question.",
    ),
}
DEFAULT = "list"


class _Runs(LazyGroup):
    """A group of which one command needs no name."""

    def parse_args(self, context, arguments):
        if not arguments or (arguments[0] not in self.where and arguments[0] not in ("-h", "--help")):
            arguments = [DEFAULT, *arguments]
        return super().parse_args(context, arguments)


@click.group(cls=_Runs, where=COMMANDS, light=tuple(COMMANDS), context_settings={"help_option_names": ["-h", "--help"]})
def runs():
    """List and compare the runs in a folder, or remove what they need no more.

    `dirac-keras runs DIR` is short for `dirac-keras runs list DIR`.

    `dirac-keras runs runs --sort accuracy --picture curves.png`
    """
