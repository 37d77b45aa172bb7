"""The command `dirac-keras` itself: its commands, and what becomes of what they raise."""

import logging
import sys

import rich_click as click

from dirac_keras.cli.group import Invocation, LazyGroup
from dirac_keras.cli.speech.errors import end_with, explain_usage, is_of_standard_output
from dirac_keras.cli.speech.output import OptionFormatter, fail
from dirac_keras.cli.speech.process import Terminated, drop_output, flush_output
from dirac_keras.version import __version__

click.rich_click.TEXT_MARKUP = "markdown"

# Command -> module, function, first sentence of its help text (a test holds it against the function's).
COMMANDS = {
    "train": (
        "dirac_keras.cli.train",
        "train",
        "Train a network, fold it to a plain chain, export it, compare the outputs.",
    ),
    "tune": (
        "dirac_keras.cli.tune",
        "tune",
        "Search depth, width and settings under a budget of the folded network.",
    ),
    "find-lr": (
        "dirac_keras.cli.find_lr",
        "find_lr",
        "Find a learning rate: train some steps with one that rises, and see where the loss falls.",
    ),
    "evaluate": (
        "dirac_keras.cli.evaluate",
        "evaluate",
        "Measure accuracy and loss of a trained model on a data set.",
    ),
    "diagnose": (
        "dirac_keras.cli.diagnose.command",
        "diagnose",
        "Measure every layer on data, and say whether the network will train.",
    ),
    "predict": (
        "dirac_keras.cli.models",
        "predict",
        "Name the most likely classes of image files.",
    ),
    "explain": (
        "dirac_keras.cli.explain",
        "explain",
        "Show which parts of images the answer of a network rests on.",
    ),
    "fold": (
        "dirac_keras.cli.models",
        "fold",
        "Fold BatchNormalization and the Dirac parameterization of a Keras model into its kernels.",
    ),
    "plainify": (
        "dirac_keras.cli.plainify",
        "plainify_command",
        "Make a plain chain of a residual network: no skip connections, the same outputs.",
    ),
    "prune": (
        "dirac_keras.cli.prune",
        "prune_command",
        "Take the channels of a plain network out that change least, and fine-tune what is left.",
    ),
    "import": (
        "dirac_keras.cli.import_weights",
        "import_command",
        "Read weights of other libraries into a Keras network: PyTorch's files, safetensors, Keras 2.",
    ),
    "export": (
        "dirac_keras.cli.export",
        "export_command",
        "Write a model for serving, as SavedModel, ONNX, LiteRT or OpenVINO, the preprocessing and the labels inside.",
    ),
    "benchmark": (
        "dirac_keras.cli.benchmark",
        "benchmark",
        "Measure size, latency, memory, accuracy and differences of a network's artefacts side by side.",
    ),
    "data": (
        "dirac_keras.cli.data.command",
        "data",
        "Look at a data set before a network is trained on it.",
    ),
    "runs": (
        "dirac_keras.cli.runs.command",
        "runs",
        "List and compare the runs in a folder, or remove what they need no more.",
    ),
    "completion": (
        "dirac_keras.cli.shell.completion",
        "completion",
        "Print the script that completes this command in bash, zsh or fish.",
    ),
    "data-service": (
        "dirac_keras.cli.service",
        "data_service",
        "Prepare training batches for other processes, here or on other machines, until interrupted.",
    ),
    "reproduce": (
        "dirac_keras.cli.reproduce.command",
        "reproduce",
        "Train what a paper's tables and figures need, and write them beside the paper's numbers.",
    ),
    "info": (
        "dirac_keras.cli.models",
        "info",
        "List the layers of a model with shapes, parameters, multiply-accumulates and receptive fields.",
    ),
}


def run():
    """Run the command that the arguments call, and end with its status where that is not 0."""
    invocation = Invocation()
    handler = logging.StreamHandler()
    handler.setFormatter(OptionFormatter(invocation))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("absl", "tensorflow", "h5py", "matplotlib", "jax"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        commands(standalone_mode=False, prog_name="dirac-keras", obj=invocation)
        flush_output()
    except SystemExit as end:
        if end.__context__ is None or not is_of_standard_output(end.__context__):
            raise
        drop_output()  # click has made an exit without a word of it
        end_with(end.__context__, invocation)
    except click.Abort:  # which click makes of an interrupt
        _end_interrupted("interrupted", 130, invocation)
    except (KeyboardInterrupt, Terminated) as signal:
        is_term = isinstance(signal, Terminated)
        _end_interrupted(*(("terminated", 143) if is_term else ("interrupted", 130)), invocation)
    except click.ClickException as error:
        error = explain_usage(error)
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if is_of_standard_output(error):
            drop_output()
        end_with(error, invocation)


def _end_interrupted(what, status, invocation):
    is_training = getattr(invocation.command, "name", None) == "train"
    fail(f"{what}." + (" Run the same command to resume from the last checkpoint." if is_training else ""), status)


# Commands that need no Keras, whose import takes seconds.
LIGHT = ("runs", "completion")


@click.group(
    cls=LazyGroup,
    where=COMMANDS,
    light=LIGHT,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="dirac-keras")
def commands():
    """Very deep networks without skip connections: train, fold to a plain chain, export.

    `dirac-keras train --data digits --depth 16 --epochs 30 --workdir runs/digits`
    """
