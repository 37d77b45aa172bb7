"""`dirac-keras runs list`: the runs in a folder as a table, as JSON, as a picture of their curves."""

import pathlib

import rich_click as click
from rich import box
from rich.table import Table
from rich.text import Text

from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import console, leave_out, printable, say
from dirac_keras.errors import UserError, renaming
from dirac_keras.files.amounts import counted, size_text
from dirac_keras.files.atomic import refuse_existing
from dirac_keras.run_folders import ORDERS, read_runs, sort_runs, survey
from dirac_keras.run_folders.picture import SUFFIX, plot_runs

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
COLUMNS = ("run", "network", "data", "recipe", "epochs", "validation", "test", "time", "size", "status")
DISPENSABLE = ("size", "time", "recipe", "validation", "data", "network")  # where a terminal is narrow, in this order
MOST_PROBLEMS = 30  # that have a line each
WIDEST = 10_000  # columns, to measure a table in
COLOURS = {"ended": "", "running": "green", "interrupted": "yellow", "diverged": "red"}


@click.command("list", context_settings=CONTEXT)
@click.argument("folder", type=click.Path(), default="runs")
@click.option("--sort", "order", type=click.Choice(list(ORDERS)), default="name", show_default=True, help="Order of "
              "the runs; accuracy is that on the test images, the best first.")  # fmt: skip
@click.option("--picture", type=click.Path(dir_okay=False), metavar="FILE", help="Draw loss and accuracy on "
              "validation images over the epochs, of all runs that have some, as a PNG file.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the picture, or the JSON file, if it exists.")
@json_option("Print a list of JSON objects, one a run.")
def list_command(folder, order, picture, overwrite, as_json):
    """List the runs in a folder: what was trained, how far it is, what it reached.

    FOLDER is searched at every depth, without the insides of runs. Default: runs. A run is `ended`, `running` (a
    process holds its lock), `interrupted` (the same `train` resumes it), or `diverged`.

    `dirac-keras runs runs --sort accuracy`
    """
    if picture is not None:
        if pathlib.Path(picture).suffix.lower() != SUFFIX:
            raise UserError(f"`picture` must end in {SUFFIX}. Received picture={picture!r}.")
        with renaming(path="picture"):
            refuse_existing(pathlib.Path(picture), overwrite)
    rows, problems = read_survey(folder)
    rows = sort_runs(rows, order)
    emit(as_json, rows)
    labels = [_label(row["path"], folder) for row in rows]
    if not is_quiet(as_json):
        _print(rows, labels, folder, len(problems))
    if picture is not None:
        with renaming(path="picture"):
            without, others = plot_runs(rows, labels, pathlib.Path(picture))
        say(f"written: {picture}")
        if without:
            say(f"not in the picture, without figures of validation images: {', '.join(map(printable, without))}")
        if others:
            say(f"not in the picture, of another task than most: {', '.join(map(printable, others))}")
    for problem in problems[:MOST_PROBLEMS]:
        leave_out(problem)
    if len(problems) > MOST_PROBLEMS:
        leave_out(f"{counted(len(problems) - MOST_PROBLEMS, 'more folder')}.")


def read_survey(folder):
    """`(rows, problems)` of a folder: the runs below it, and a line for each folder and link that is left out."""
    paths, links = survey(folder)
    rows, problems = read_runs(paths)
    told = [f"{link} is a link, and links are not followed: give its place as FOLDER." for link in links]
    return rows, problems + told


def _print(rows, labels, folder, left_out_folders):
    others = f"; {counted(left_out_folders, 'folder')} left out" if left_out_folders else ""
    if not rows:
        say(f"no run in {folder}{others}")
        return
    cells = [dict(zip(COLUMNS, _cells(row, label), strict=True)) for row, label in zip(rows, labels, strict=True)]
    shown, left_out = list(COLUMNS), []
    table = _table(shown, cells)
    for name in DISPENSABLE:  # else every column would be cut in the middle of its words
        if console.measure(table, options=console.options.update(width=WIDEST)).maximum <= console.width:
            break
        shown.remove(name)
        left_out.append(name)
        table = _table(shown, cells)
    console.print(table)
    if left_out:
        say(
            f"no room for {', '.join(name for name in COLUMNS if name in left_out)}: --json has them, or a wider window"
        )
    counts = {status: sum(row["status"] == status for row in rows) for status in COLOURS}
    words = [f"{count} {status}" for status, count in counts.items() if count]
    say(f"{counted(len(rows), 'run')}: {', '.join(words)}; {size_text(sum(r['bytes'] for r in rows))}{others}")


def _table(names, cells):
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in names:
        is_number = name in ("epochs", "validation", "test", "time", "size")
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=name != "run")
    for row in cells:
        table.add_row(*(Text(printable(row[name][0]), style=row[name][1]) for name in names))
    return table


def _cells(row, label):
    """`(text, style)` of each column."""
    texts = [
        label,
        _network(row),
        str(row["data"]),
        str(row["recipe"]),
        f"{row['epochs_done']}/{row['epochs']}",
        _figure(row, "validation"),
        _figure(row, "test"),
        duration(row["seconds"]),
        size_text(row["bytes"]),
    ]
    return [*((text, "") for text in texts), (row["status"], COLOURS[row["status"]])]


def _network(row):
    if row["family"] == "file":  # as it stood in the file that it started from
        return f"file {pathlib.Path(row['start'] or '').stem}".rstrip()
    size = f"{row['units']} units" if row["units"] else f"x{row['width']:g}" if row["width"] is not None else ""
    kind = row["parameterization"] if row["family"] == "diracnet" and row["parameterization"] != "dirac" else ""
    without = "no skips" if row["skips"] is False else ""
    return " ".join(filter(None, [str(row["family"]), str(row["depth"] or ""), size, kind, without]))


def _figure(row, name):
    if row[name] is None:
        return ""
    return f"{row[name]:.4f}" + ("" if row["metric"] == "accuracy" else f" {row['metric']}")


def duration(seconds):
    """`"45 s"`, `"12.3 min"`, `"4.1 h"`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _label(path, folder):
    """A run's path below the folder that was asked for; of that folder itself its name."""
    path, folder = pathlib.Path(path), pathlib.Path(folder)
    return path.resolve().name if path == folder else path.relative_to(folder).as_posix()
