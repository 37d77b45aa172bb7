"""`dirac-keras runs prune`: what finished and failed runs need no more is removed, after a question."""

import sys

import rich_click as click

from dirac_keras.cli.runs.listing import CONTEXT, MOST_PROBLEMS, read_survey
from dirac_keras.cli.speech.json_option import emit, is_quiet, json_option
from dirac_keras.cli.speech.output import leave_out, say
from dirac_keras.errors import RunError, UserError
from dirac_keras.files.amounts import counted, size_text
from dirac_keras.run_folders import plan_pruning, prune


@click.command("prune", context_settings=CONTEXT)
@click.argument("folder", type=click.Path())
@click.option("--failed", is_flag=True, help="Remove as a whole also the runs that diverged, and those that stopped "
              "before their first checkpoint.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Remove it without a question.")
@json_option("Print what was removed, or would be, as JSON; needs --yes or --dry-run.")
def prune_command(folder, failed, dry_run, yes, as_json):
    """Remove the checkpoints of runs that have ended, after a question.

    FOLDER is searched at every depth. A run that is running or can be resumed keeps everything, and of the others only
    files go that the run has listed as its own.

    `dirac-keras runs prune runs --dry-run`
    """
    if is_quiet(as_json) and not (yes or dry_run):
        raise UserError("`as_json` asks no question. Give `yes`, or `dry_run`.")
    rows, problems = read_survey(folder)
    plan, kept = plan_pruning(rows, failed)
    for one in plan:
        what = "the run" if one.is_whole else counted(len(one.files), "checkpoint")
        say(f"{one.path}: {one.status}, {what}, {size_text(one.bytes)}")
    _say_kept([*kept, *((problem, None) for problem in problems[:MOST_PROBLEMS])])
    if len(problems) > MOST_PROBLEMS:
        say(f"kept: {counted(len(problems) - MOST_PROBLEMS, 'more folder')} without a run that can be read")
    if not plan:
        say("nothing to remove")
        emit(as_json, _record([], kept, dry_run))
        return
    say(f"{_of(plan)}, {size_text(sum(one.bytes for one in plan))}")
    if dry_run:
        emit(as_json, _record(plan, kept, dry_run))
        return
    if not yes and not _is_wanted():
        say("nothing was removed")
        emit(as_json, _record([], [*kept, *((one.path, "the question was answered with no") for one in plan)], dry_run))
        return
    gone, left = prune(plan)
    say(f"removed: {size_text(sum(one.bytes for one in gone))}, of {_of(gone)}")
    emit(as_json, _record(gone, [*kept, *left], dry_run))
    for path, reason in left:
        leave_out(f"{path}: {reason}")
    if left:
        raise RunError(f"left as they are, see above: {len(left)} of {_of(plan)}.")


def _is_wanted():
    if not sys.stdin.isatty():
        raise UserError("Nobody can be asked here: standard input is no terminal. Give `yes`, or `dry_run`.")
    return click.confirm("Remove it?", default=False)


def _of(plan):
    return counted(len(plan), "run")


def _say_kept(kept):
    for path, reason in kept:
        say(f"kept: {path}" + (f": {reason}" if reason else ""))


def _record(removed, kept, dry_run):
    return {
        "dry_run": dry_run,
        "bytes": sum(one.bytes for one in removed),
        "removed": [one.to_dict() for one in removed],
        "kept": [{"path": str(path), "reason": reason} for path, reason in kept],
    }
