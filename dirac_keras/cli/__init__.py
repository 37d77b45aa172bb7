"""The command `dirac-keras`: parses, then calls the library."""

import logging
import os
import re
import sys

import rich_click as click

import dirac_keras
from dirac_keras.cli import diagnose, models, reproduce, service, train, tune
from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.output import fail

click.rich_click.TEXT_MARKUP = "markdown"


def main():
    """Entry point: every expected error is one line on standard error and a non-zero status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("absl", "tensorflow", "h5py", "matplotlib", "jax"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        commands(standalone_mode=False, prog_name="dirac-keras")
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except (click.Abort, KeyboardInterrupt):
        is_training = sys.argv[1:2] == ["train"]
        fail("interrupted." + (" The same command goes on from the last checkpoint." if is_training else ""), 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if not (isinstance(error, (ValueError, RuntimeError, OSError, ImportError)) or _is_of_an_image(error)):
            raise
        if os.environ.get("DIRAC_KERAS_TRACEBACK"):
            raise
        if _is_of_an_image(error):
            fail(
                "an image cannot be decoded, though it begins and ends as one: "
                f"{str(error).strip().splitlines()[0][:300]}. Repair or remove it.",
                1,
            )
        fail(" ".join(str(error).split()), 1)


def _is_of_an_image(error):
    """Whether TensorFlow's input pipeline failed at an image's bytes."""
    return type(error).__name__ == "InvalidArgumentError" and re.search(r"JPEG|PNG|image (file|data)", str(error))


@click.group(context_settings=CONTEXT)
@click.version_option(dirac_keras.__version__, prog_name="dirac-keras")
def commands():
    """Very deep networks without skip connections: train, fold to a plain chain, export.

    `dirac-keras train --data digits --depth 16 --epochs 30 --workdir runs/digits`
    """


for command in (
    train.train,
    tune.tune,
    models.evaluate,
    diagnose.diagnose,
    models.predict,
    models.fold,
    models.export_command,
    service.data_service,
    reproduce.reproduce,
    models.info,
):
    commands.add_command(command)
