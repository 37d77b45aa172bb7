"""The ledger as a page in Markdown."""

from dirac_keras.experiments.artefacts import ARTEFACTS
from dirac_keras.experiments.ledger.rows import rows_of
from dirac_keras.files.amounts import counted

HEADING = "# Ledger"
NAMES = {"diracnets": "DiracNets", "plainnets": "PlainNets", "van": "VAN"}
COLUMNS = (
    *("network", "figure", "paper", "ours", "seeds", "epochs", "paper's epochs", "data", "hardware", "date"),
    *("command", "cause of the difference"),
)
INTRODUCTION = """
Every table and figure of the three papers: the paper's number beside ours. Written from the files of the runs by

```
dirac-keras reproduce --ledger docs/ledger.md --workdir DIR
```

Do not edit it. Ours is the mean over the seeds ± the sample standard deviation; errors are in percent. "Not run" is
what nobody has trained yet.
"""


def page(collection, papers):
    """The text of the ledger.

    Args:
        collection: `Collection`.
        papers: dict, paper -> name -> `Experiment`.
    """
    rows = {
        (paper, entry): rows_of(
            experiment, [one for one in collection.found if (one.paper, one.entry) == (paper, entry)]
        )
        for paper, entries in papers.items()
        for entry, experiment in entries.items()
    }
    lines = [HEADING, *INTRODUCTION.rstrip().split("\n"), "", _count(collection, papers, rows)]
    for paper, entries in papers.items():
        lines += ["", f"## {NAMES.get(paper, paper)}", "", *_artefacts(paper, entries, collection, rows)]
        for entry, experiment in entries.items():
            lines += [
                "",
                f"### {experiment.title} (`{entry}`)",
                "",
                f"{experiment.source[0].upper()}{experiment.source[1:]}.",
                "",
            ]
            lines += _table(paper, experiment, rows[paper, entry])
    return "\n".join(lines) + "\n"


def _count(collection, papers, rows):
    known = {(paper, name) for paper in papers for name in ARTEFACTS.get(paper, {})}
    shown = {(p, name) for p, entries in papers.items() for e in entries.values() for name in e.artefacts}
    run = {(one.paper, name) for one in collection.found for name in _shown(papers, one)}
    full = {(one.paper, name) for one in collection.found if _is_at_length(one) for name in _shown(papers, one)}
    figures = {}  # once each, though several entries show it -> whether there is ours; what is no artefact, repeats one
    for (paper, entry), some in rows.items():
        for row in some:
            if row.paper is not None and papers[paper][entry].artefacts:
                key = paper, row.network, row.metric.title, row.paper
                figures[key] = figures.get(key, False) or row.is_there
    return (
        f"{len(known)} tables, figures and statements; {len(known & shown)} have an entry, {len(known & run)} have "
        f"runs, {len(known & full)} have a run at the paper's length. {len(figures)} figures are numbers of the "
        f"papers; {sum(figures.values())} of them have ours beside them. {collection.folders} runs."
    )


def _is_at_length(found):
    """Whether a run has the paper's recipe and all its epochs."""
    return found.is_full and found.ended.config.epochs >= found.run.config().epochs


def _shown(papers, found):
    """The artefacts that a run is of."""
    experiment = papers[found.paper][found.entry]
    return [name for name in experiment.artefacts if _is_of(experiment, name, found.run)]


def _is_of(experiment, artefact, run):
    """Whether an artefact shows a run of its entry: some are of one data set alone."""
    return experiment.data_of.get(artefact, run.fields["data"]) == run.fields["data"]


def _artefacts(paper, entries, collection, rows):
    lines = ["| artefact | what it shows | entry | state |", "|---|---|---|---|"]
    for name, text in ARTEFACTS.get(paper, {}).items():
        showing = [entry for entry, experiment in entries.items() if name in experiment.artefacts]
        state = _state(paper, name, showing, entries, collection)
        cells = [name, text, ", ".join(f"`{entry}`" for entry in showing), state]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return lines


def _state(paper, artefact, showing, entries, collection):
    if not showing:
        return "no entry"
    if not any(entries[entry].runs for entry in showing):
        return "needs no training"
    found = [
        one
        for one in collection.found
        if one.paper == paper and one.entry in showing and _is_of(entries[one.entry], artefact, one.run)
    ]
    if not found:
        return "not run"
    networks = {
        (entry, run.title) for entry in showing for run in entries[entry].runs if _is_of(entries[entry], artefact, run)
    }
    full = {(one.entry, one.run.title) for one in found if _is_at_length(one)}
    run = {(one.entry, one.run.title) for one in found}
    return f"{len(run)} of {counted(len(networks), 'network')} run, {len(full)} at the paper's length"


def _table(paper, experiment, rows):
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"] if rows else []
    lines += [f"| {' | '.join(_cell(cell) for cell in _cells(row))} |" for row in rows]
    shown = {row.network for row in rows}
    missing = len({run.title for run in experiment.runs} - shown)
    if missing:
        which = " that the paper gives no number of" if experiment.artefacts else ""
        lines += [*([""] if rows else []), f"Not run: {counted(missing, 'network')}{which}."]
    if not experiment.runs:
        computed = f"Needs no training: `dirac-keras reproduce {paper} --only {experiment.name}` computes it."
        lines += [*([""] if rows else []), computed]
    return lines


def _cells(row):
    if not row.is_run:
        blank = ["", "", row.paper_epochs, "", "", "", ""]
        return [row.network, row.metric.title, row.papers, row.ours, *blank, row.cause]
    command = f"`{row.command}`"
    rest = (row.epochs, row.paper_epochs, row.data, row.hardware, row.date, command, row.cause)
    return [row.network, row.metric.title, row.papers, row.ours, row.seeds_told, *rest]


def _cell(value):
    return str("" if value is None else value).replace("|", "\\|")
