"""`dirac-keras find-lr`: a learning rate for a training, from a short one in which it rises."""

import dataclasses
import pathlib
import tempfile

import rich_click as click
from rich.progress import Progress

from dirac_keras.cli.options import CONTEXT, config_options, field_groups, read_config, splits_of_config
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import say, stderr, write_json
from dirac_keras.errors import RunError, renaming
from dirac_keras.files.atomic import refuse_existing
from dirac_keras.files.together import replace_together
from dirac_keras.training.limits import check_size

FILES = ("learning-rate.png", "learning-rate.json")
NOT_HERE = ("early_stopping", "keep_best", "monitor", "validation_freq", "plateau_patience")
NOT_HERE += ("keep_checkpoints", "checkpoint_steps", "checkpoint_seconds")
NOT_HERE += ("accumulate_steps", "ema_momentum", "test_time_augmentation", "unfreeze_epoch", "tracker")
_OWN = ["--config", "--lowest", "--highest", "--steps", "--output", "--overwrite", "--json", "--download", "--help"]
click.rich_click.OPTION_GROUPS["dirac-keras find-lr"] = [
    {"name": "Run", "options": _OWN}, *field_groups(without=NOT_HERE)
]  # fmt: skip


@click.command("find-lr", context_settings=CONTEXT)
@click.option("--config", "config_file", type=click.Path(), help="JSON or TOML file with options of `train`.")
@click.option("--lowest", type=click.FloatRange(min=0, min_open=True), default=1e-6, show_default=True,
              help="Learning rate of the first step.")  # fmt: skip
@click.option("--highest", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Learning rate of the last step.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=10), default=100, show_default=True, help="Training steps. It ends "
              "before if the loss grows to four times its smallest.")  # fmt: skip
@click.option("--output", type=click.Path(file_okay=False), default=".", show_default=True, metavar="DIR",
              help=f"Folder for {FILES[1]} and {FILES[0]}. Nothing else is written.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the two files if they are there.")
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@json_option("Print JSON instead of the sentence.")
@config_options(without=NOT_HERE)
def find_lr(config_file, lowest, highest, steps, output, overwrite, download, as_json, **flags):
    """Find a learning rate: train some steps with one that rises, and see where the loss falls.

    The options below are those of `train`, and the same ones give the rate for the same training. It takes as long as
    so many steps, and leaves two files.

    `dirac-keras find-lr --data digits --depth 16 --optimizer adamw --output lr`
    """
    from dirac_keras.training.optimization.rate_finder import find_learning_rate

    config = read_config(config_file, {name: value for name, value in flags.items()})
    check_size(config)
    folder = pathlib.Path(output)
    with renaming(path="output"):
        for name in FILES:
            refuse_existing(folder / name, overwrite)
    splits = splits_of_config(config, download)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("learning rate rises", total=steps)
        found = find_learning_rate(
            config, splits, lowest, highest, steps, lambda done, _: bar.update(task, completed=done)
        )
    record = {
        "data": config.data,
        "optimizer": config.optimizer,
        "batch_size": config.batch_size,
        "seed": config.seed,
        **dataclasses.asdict(found),
    }
    _write(folder, found, config, record)
    emit(as_json, record)
    if found.suggestion is None:
        raise RunError(
            f"No rate from {lowest:g} to {highest:g} lowered the loss, see {folder / FILES[0]}. Give another range by "
            "`lowest` and `highest`, or more `steps`."
        )
    if not is_quiet(as_json):
        ended = f"; the loss diverged beyond {found.rates[-1]:.2g}" if found.has_diverged else ""
        options = f"--learning-rate {found.learning_rate:.2g}"
        if found.muon_learning_rate is not None:
            options += f" --muon-learning-rate {found.muon_learning_rate:.2g}"
        say(f"learning rate {found.learning_rate:.2g}{ended}: train with {options}")
        if found.is_at_end:
            say("the loss falls fastest at the last rate: a larger --highest, or more --steps, may find a better one")
        say(f"in {folder}: {FILES[1]}, {FILES[0]}")


def _write(folder, found, config, record):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        sources = [pathlib.Path(temporary) / name for name in FILES]
        _draw(found, config, sources[0])
        write_json(sources[1], record)
        with renaming(path="output"):
            replace_together({folder / name: source for name, source in zip(FILES, sources, strict=True)})


def _draw(found, config, path):
    from dirac_keras.pages import COLOURS, entitle, legend, new_figure, save_figure, style

    with style():
        figure, axis = new_figure(6.5, 4.2)
        axis.plot(found.rates, found.losses, color=COLOURS[-1], alpha=0.35, linewidth=1, label="loss of a batch")
        axis.plot(found.rates, found.smoothed, color=COLOURS[0], label="smoothed")
        if found.suggestion is not None:
            axis.axvline(found.suggestion, color=COLOURS[1], linestyle="--", label=f"suggested: {found.suggestion:.2g}")
        axis.set(xscale="log", xlabel="learning rate, rising from step to step", ylabel="loss")
        if found.smoothed:  # what diverges may leave the picture: it would flatten the fall
            axis.set_ylim(0.9 * min(found.losses), 1.2 * max(found.smoothed))
        entitle(axis, f"Loss while the learning rate rises: {config.family} by {config.optimizer} on {config.data}")
        legend(figure)
        save_figure(figure, path)
