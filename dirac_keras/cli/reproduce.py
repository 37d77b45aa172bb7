"""`dirac-keras reproduce`: a paper's tables and figures."""

import pathlib

import rich_click as click

from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.output import console, say
from dirac_keras.errors import UserError
from dirac_keras.files.stderr import quiet_stderr


@click.command(context_settings=CONTEXT)
@click.argument("paper", type=click.Choice(["diracnets", "plainnets", "van"]))
@click.option(
    "--only", multiple=True, help="Table or figure to reproduce, such as table2; may be repeated. Default: all."
)
@click.option("--workdir", type=click.Path(), help="Folder of the runs. Default: runs/PAPER, with -quick or -full.")
@click.option(
    "--list", "only_list", is_flag=True, help="List the tables and figures with their numbers of runs, and stop."
)
@click.option(
    "--quick", is_flag=True, help="Train a small network on few images in each run, to test the installation."
)
@click.option("--full", is_flag=True, help="Train with the paper's own recipe and epochs: days on a CPU.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of every run. Default: each run's own.")
@click.option("--seed", type=click.IntRange(min=0), help="Number added to the seed of every run. Default: 0.")
@click.option("--data-dir", help="Folder of the data sets of tensorflow-datasets. Default: $TFDS_DATA_DIR, "
              "else ~/tensorflow_datasets.")  # fmt: skip
@click.option("--download", is_flag=True, help="Download a data set if it is absent.")
def reproduce(paper, only, workdir, only_list, quick, full, epochs, seed, data_dir, download):
    """Train what a paper's tables and figures need, and write them beside the paper's numbers.

    Finished runs are not repeated. Interrupted runs resume.

    `dirac-keras reproduce plainnets --only table2 --workdir runs/plainnets`
    """
    with quiet_stderr():
        from dirac_keras.experiments import PAPERS, reproduce_experiment

    entries = PAPERS[paper]
    unknown = sorted(set(only) - set(entries))
    if unknown:
        raise UserError(f"`only` must be one of {', '.join(entries)}. Received {unknown[0]}.")
    if only_list:
        for entry in entries.values():
            large = sum(run.only_full for run in entry.runs)
            runs = f"{len(entry.runs)} runs" + (f", {large} with --full only" if large else "")
            say(f"{entry.name}: {entry.title} ({entry.source}; {runs})")
        return
    if quick and full:
        raise UserError("`quick` and `full` exclude each other. Give one.")
    if quick and epochs is not None:
        raise UserError(f"`epochs` has no effect with `quick`, whose runs have one. Received epochs={epochs}.")
    suffix = "-quick" if quick else "-full" if full else ""
    folder = pathlib.Path(workdir or pathlib.Path("runs") / f"{paper}{suffix}")
    for name in only or entries:
        overrides = {"epochs": epochs, "seed": seed, "data_dir": data_dir}
        for line in reproduce_experiment(entries[name], folder, quick, console, full, download, **overrides):
            say(line)
