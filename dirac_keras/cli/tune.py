"""`dirac-keras tune`: search width, depth and settings with KerasTuner."""

import gc
import pathlib
import re
import time

import msgspec
import rich_click as click
from click.core import ParameterSource

from dirac_keras.cli.options import CONTEXT, check_model, config_options, field_groups, network_of_start
from dirac_keras.cli.speech.json_option import emit, json_option
from dirac_keras.cli.speech.output import console, say
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.training.config_file import read_config_file

TUNERS = ("random", "grid", "hyperband", "bayesian")
NOT_HERE = ("epochs", "keep_checkpoints", "checkpoint_steps", "checkpoint_seconds")  # --max-epochs; of no use
NOT_HERE += (
    "early_stopping",
    "keep_best",
    "monitor",
    "validation_freq",
    "plateau_patience",
)  # see `tuning.space.NOT_HERE`
NOT_HERE += ("tracker",)  # a search has a table of its own
# What a worker does not learn from its chief.
WITH_JOIN = ("join", "workdir", "name", "time_limit", "download", "data_dir", "end_with_parent")
VALIDATION = 0.1
DEFAULTS = {"validation": f"{VALIDATION}, or the validation part that the data have themselves"} | dict.fromkeys(
    ("depth", "width", "units", "learning_rate", "weight_decay"), "searched, in a range of the family or recipe"
)
LISTS = "One value, a list a,b,c, or of numbers a range low-high or low-high:step."
_OWN = {
    "Search": ["--tuner", "--max-trials", "--max-epochs", "--executions", "--time", "--search", "--space", "--workdir"],
    "Budget": ["--max-params", "--max-macs", "--max-latency-ms", "--latency-batch"],
    "Processes": ["--workers", "--chief", "--join", "--name", "--strategy", "--logical-devices", "--max-gigabytes"],
    "Run": ["--download", "--overwrite", "--json", "--help"],
}


def _group_flags():
    groups = [{"name": name, "options": flags} for name, flags in _OWN.items()]
    for group in field_groups(without=NOT_HERE):
        words = "" if group["name"] == "Data" else ": each one value, or a list or range to search"
        phase_out = ["--phase-out-share"] if group["name"] == "Training" else []
        groups.append({"name": group["name"] + words, "options": [*group["options"], *phase_out]})
    click.rich_click.OPTION_GROUPS["dirac-keras tune"] = groups


class _Seconds(click.ParamType):
    """`20m`, `1h30m`, `45s`, or a number of seconds."""

    name = "time"

    def convert(self, value, param, ctx):
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", value.strip()) if value.strip() else None
        try:
            hours, minutes, seconds = (float(part or 0) for part in match.groups())
        except (AttributeError, ValueError):
            self.fail(f"expected a time such as 20m, 1h30m or 45s, received {value!r}", param, ctx)
        total = 3600 * hours + 60 * minutes + seconds
        if total <= 0:
            self.fail(f"must be above 0, received {value!r}", param, ctx)
        return total


_group_flags()


@click.command(context_settings=CONTEXT)
@click.option("--tuner", type=click.Choice(TUNERS), default="hyperband", show_default=True, help="Search algorithm.")
@click.option("--max-trials", type=click.IntRange(min=1), help="Number of trials. Default: 20 for random and bayesian, "
              "all for grid, one pass for hyperband.")  # fmt: skip
@click.option("--max-epochs", type=click.IntRange(min=1), default=9, show_default=True, help="Epochs of a trial.")
@click.option("--executions", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings per trial, "
              "each with its own seed.")  # fmt: skip
@click.option("--time", "time_limit", type=_Seconds(), help="Time limit: 20m, 1h30m, 45s. Default: none.")
@click.option("--search", "names", help="Fields to search in their default ranges, separated by commas. Default: "
              "depth, width or units, learning-rate, weight-decay.")  # fmt: skip
@click.option(
    "--space", "space_file", type=click.Path(), help="JSON or TOML file with the fields below; options take precedence."
)
@click.option("--workdir", type=click.Path(), help="Folder of the search. Default: runs/tune-DATA-FAMILY-TUNER.")
@click.option("--max-params", type=float, help="Largest number of parameters of the folded network, such as 5e5.")
@click.option("--max-macs", type=float, help="Largest number of multiply-accumulates per image, such as 1e8.")
@click.option("--max-latency-ms", type=float, help="Largest latency of a batch on this machine, in milliseconds.")
@click.option(
    "--latency-batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images per batch for --max-latency-ms.",
)
@click.option("--workers", type=click.IntRange(min=0), help="Number of training processes on this machine. Default: "
              "1, with --chief 0.")  # fmt: skip
@click.option("--chief", metavar="HOST:PORT", help="Address to serve trials at, for workers on other machines.")
@click.option("--join", "join", metavar="HOST:PORT", help="Train trials as a worker of the chief at this address.")
@click.option("--name", help="Name of this worker. Default: machine and process.")
@click.option("--lease-seconds", type=float, default=60.0, hidden=True)  # see docs/tuning.md
@click.option("--end-with-parent", is_flag=True, hidden=True)  # how a chief starts the workers of its machine
@click.option("--strategy", type=click.Choice(["auto", "one", "data_parallel", "mirrored", "tpu"]), default="auto",
              show_default=True, help="Devices of each training.")  # fmt: skip
@click.option("--logical-devices", type=click.IntRange(min=2), help="Number of devices to split the CPU into.")
@click.option(
    "--max-gigabytes",
    type=click.FloatRange(min=0, min_open=True),
    help="Memory that a network and a training step may take by an estimate. Default: that of this machine.",
)
@click.option("--download", is_flag=True, help="Download the data set if it is absent.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Delete the search that is in the workdir, then search. Anything else in the workdir is an error.",
)
@click.option(
    "--phase-out-share", help=f"Share of the training after which the skip connections are gone. For van only. {LISTS}"
)
@config_options(without=NOT_HERE, defaults=DEFAULTS, as_text=True)
@json_option("Print the trials and the best one as JSON.")
def tune(
    tuner,
    max_trials,
    max_epochs,
    executions,
    time_limit,
    names,
    space_file,
    workdir,
    max_params,
    max_macs,
    max_latency_ms,
    latency_batch,
    workers,
    chief,
    join,
    name,
    lease_seconds,
    end_with_parent,
    strategy,
    logical_devices,
    max_gigabytes,
    download,
    overwrite,
    as_json,
    **flags,
):
    """Search depth, width and settings under a budget of the folded network.

    Each field of `train` may be one value, a list `a,b,c`, or a range `low-high`. The same command resumes a
    search that was interrupted: finished trials are kept, the running one is resumed. The folder then holds
    `trials.csv`, `pareto.png`, `summary.json`, TensorBoard's HParams in `tb/`, and `best.toml` for
    `dirac-keras train --config`.

    `dirac-keras tune --data cifar10 --family diracnet --tuner hyperband --max-epochs 9 --max-params 1e6 --time 20m`
    """
    _refuse_without_effect(join, chief, workers)
    import tuning

    # What was imported is half a million objects that every collection after a trial would look through.
    gc.collect()
    gc.freeze()
    if join:
        return _join(join, workdir, name, time_limit, download, flags.get("data_dir"), end_with_parent)
    given = {**_read_space(space_file), **{field: value for field, value in flags.items() if value is not None}}
    network = network_of_start(given, None)  # what is left to search is how it is trained
    # A record has every field, those without an effect too.
    if "family" in network:
        network = {field: value for field, value in network.items() if tuning.has_effect(field, network["family"])}
    given = {**network, **given}
    if "validation" not in given:
        given["validation"] = _default_validation(given, download)
    seed = given.pop("seed", 0)
    wanted = None if names is None else [part.strip().replace("-", "_") for part in names.split(",")]
    space = tuning.SearchSpace(given, wanted)
    check_model(space.fixed.get("start"), "start")
    result = tuning.search(
        space,
        workdir or _default_workdir(space, tuner),
        tuner=tuner,
        max_trials=max_trials,
        max_epochs=max_epochs,
        executions=executions,
        seed=seed,
        budget=tuning.Budget(max_params, max_macs, max_latency_ms, latency_batch),
        time_limit=time_limit,
        workers=workers,
        chief=chief,
        lease_seconds=lease_seconds,
        strategy=strategy,
        logical_devices=logical_devices,
        max_gigabytes=max_gigabytes,
        overwrite=overwrite,
        console=console,
        download=download,
    )
    found = {name: getattr(result, name) for name in ("records", "best", "num_rejected", "why_stopped")}
    emit(as_json, {"workdir": str(result.workdir), **found})
    _say_result(result)


def _default_validation(given, download):
    """What is held out where nobody says it: of data with a validation part of their own nothing, as in a training."""
    from pipelines import has_own_validation

    data = given.get("data", "digits")
    if not isinstance(data, str) or not has_own_validation(data, given.get("columns"), download):
        return VALIDATION
    say(f"trials are compared on the validation part that {data} has")
    return 0


def _join(address, workdir, name, time_limit, download, data_dir, end_with_parent):
    from tuning.fleet.worker import run_worker

    deadline = None if time_limit is None else time.monotonic() + time_limit
    run_worker(address, workdir or "runs/tune-worker", name, deadline, download, data_dir, end_with_parent)
    say(f"the chief at {address} has no more trials")


def _refuse_without_effect(join, chief, workers):
    """Raise UserError for an option that the others leave without effect."""
    context = click.get_current_context()
    given = [
        option
        for option in context.command.params
        if context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE and option.name != "debug"
    ]
    for option in given:
        flag = max(option.opts, key=len)
        if join and option.name not in WITH_JOIN:
            raise UserError(f"{flag} has no effect with `join`: the chief says what is searched. Leave it out.")
        if not join and option.name in ("name", "end_with_parent"):
            raise UserError(f"{flag} has an effect only with `join`. Leave it out.")
        if option.name == "lease_seconds" and chief is None and (workers or 1) < 2:
            raise UserError(f"{flag} has an effect only with `chief` or several `workers`. Leave it out.")


def _read_space(path):
    """The fields in a file, lists as texts."""
    if path is None:
        return {}
    values = read_config_file(path)
    for name in NOT_HERE:
        if name in values:
            raise UserError(
                f"{name} cannot be a field of a search, whose length is `max_epochs`. Received it in {path}."
            )
    try:
        values = msgspec.convert(values, dict[str, str | int | float | bool | list[str | int | float | bool]])
    except msgspec.ValidationError as error:
        raise UserError(
            f"`space`: {path} must give each field a value, a text or a list of values: {error}. Mend it there."
        ) from None
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) and name != "decay_epochs" else value
        for name, value in values.items()
    }


def _default_workdir(space, tuner):
    data = space.fixed.get("data", "digits").replace("folder:", "").strip("/").replace("/", "-")
    return pathlib.Path("runs") / f"tune-{data}-{'-'.join(space.families)}-{tuner}"


def _say_result(result):
    completed = sum(record["status"] == "COMPLETED" for record in result.records)
    words = [f"{counted(completed, 'trial')} finished"]
    if len(result.records) > completed:
        words.append(f"{len(result.records) - completed} failed")
    if result.num_rejected:
        words.append(f"{counted(result.num_rejected, 'candidate')} over the budget")
    if result.why_stopped:
        words.append(f"stopped as {result.why_stopped}; the same command resumes the search")
    say(", ".join(words))
    if result.best is None:
        say("no trial has finished: there is no best one yet")
        return
    say(f"best: trial {result.best['trial']}, validation accuracy {result.best['score']:.4f}, "
        f"test accuracy {result.best['test_accuracy']:.4f}")  # fmt: skip
    say(f"in {result.workdir}: best.toml, pareto.png, summary.json, tb/, trials/, trials.csv")
    say(f"train it: dirac-keras train --config {result.workdir / 'best.toml'} --workdir runs/best")
