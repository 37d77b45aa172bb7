"""What `pipelines` says of a data set, said once by a command that reads it several times."""

import contextlib
import logging

import rich_click as click

from dirac_keras.files.stderr import quiet_stderr

_TOLD = "dirac_keras.told"  # in the context of the command: names of data sets


@contextlib.contextmanager
def told_once(name):
    """Within, a data set that this command has read before is read without a word but for errors.

    Args:
        name: of the data set; the table of a folder and its warnings are the same ones each time.
    """
    with quiet_stderr():
        from pipelines.datasets import full_name

    context = click.get_current_context(silent=True)
    told = set() if context is None else context.meta.setdefault(_TOLD, set())
    speaker = logging.getLogger("pipelines")
    level = speaker.level
    if full_name(name) in told:
        speaker.setLevel(logging.ERROR)
    told.add(full_name(name))
    try:
        yield
    finally:
        speaker.setLevel(level)
