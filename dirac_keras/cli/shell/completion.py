"""`dirac-keras completion`: the script with which a shell completes this command."""

import rich_click as click
from click.shell_completion import get_completion_class

from dirac_keras.cli.shell.completing import PROGRAM, VARIABLE, build_group

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell):
    """Print the script that completes this command in bash, zsh or fish.

    It completes commands, options, their values, names of data sets, and the folders of runs. To have it in every
    shell, add a line to `~/.bashrc`, or `~/.zshrc` behind `compinit`; fish reads a file of its own:

    `eval "$(dirac-keras completion bash)"`

    `eval "$(dirac-keras completion zsh)"`

    `dirac-keras completion fish > ~/.config/fish/completions/dirac-keras.fish`
    """
    click.echo(get_completion_class(shell)(build_group(), {}, PROGRAM, VARIABLE).source())
