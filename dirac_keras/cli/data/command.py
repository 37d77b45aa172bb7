"""`dirac-keras data`: what a data set holds, and what a training makes of it."""

import rich_click as click

from dirac_keras.cli.group import LazyGroup

# Command -> module, function, first sentence of its help text, as in `program`.
COMMANDS = {
    "check": (
        "dirac_keras.cli.data.check",
        "check",
        "Count classes, sizes and broken files of a data set, and find images that it has twice.",
    ),
    "show": (
        "dirac_keras.cli.data.show",
        "show",
        "Draw training images as the training sees them, beside their originals.",
    ),
}


@click.group(cls=LazyGroup, where=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
def data():
    """Look at a data set before a network is trained on it.

    `dirac-keras data show cifar10 --augmentation cifar+mixup`
    """
