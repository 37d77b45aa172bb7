"""The ledger: every figure of the papers beside ours, written from the files of runs and from nothing else."""

import pathlib

from dirac_keras.errors import UserError
from dirac_keras.experiments.ledger.collecting import collect
from dirac_keras.experiments.ledger.page import HEADING, page
from dirac_keras.files.atomic import write_text
from dirac_keras.files.pages import is_other_page

__all__ = ["ledger_text", "write_ledger"]


def write_ledger(path, workdir, paper=None):
    """Write the ledger of the runs in a folder and in the folders under it.

    Args:
        path: of the page.
        workdir: folder above the runs' folders.
        paper: name of the only paper; None: all.

    Returns: list of lines: what was found, and what was left out and why.
    Raises: UserError: if the folder is absent, or a file that is no ledger is in the page's place.
    """
    path = pathlib.Path(path)
    if is_other_page(path, HEADING):
        raise UserError(f"ledger: {path} is no ledger, so it is not replaced. Give another file for `ledger`.")
    text, lines = ledger_text(workdir, paper)
    write_text(path, text)
    return [*lines, f"written: {path}"]


def ledger_text(workdir, paper=None):
    """The page of `write_ledger` as text, and the lines that it returns."""
    from dirac_keras.experiments import PAPERS

    workdir = pathlib.Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"workdir: {workdir} is no folder. Give the folder above the runs' folders.")
    papers = PAPERS if paper is None else {paper: PAPERS[paper]}
    collection = collect(workdir, papers)
    return page(collection, papers), collection.lines()
