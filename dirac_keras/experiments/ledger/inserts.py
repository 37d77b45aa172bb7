"""`python -m dirac_keras.experiments.ledger.inserts WORKDIR PAGE...`: results inside the pages of a documentation.

A page asks for a table by a comment of its own, and what stands between the two comments is written from the files of
runs, as the ledger is:

    <!-- results: plainnets table2 -->
    <!-- end of results -->

`<!-- results: plainnets fig1 by depth -->` puts the depths side by side, a row for each series of networks.
"""

import pathlib
import re

from dirac_keras.errors import UserError
from dirac_keras.experiments.ledger.collecting import collect
from dirac_keras.experiments.ledger.rows import rows_of
from dirac_keras.experiments.metrics import METRICS
from dirac_keras.experiments.selection import nearest
from dirac_keras.files.atomic import write_text

END = "<!-- end of results -->"
FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"<!-- results: (?P<request>[^\n]*?) -->\n(?P<old>.*?)" + re.escape(END), re.DOTALL)
BY_DEPTH = "by depth"
COUNTED = ("seeds", "epochs")


def filled(text, collection, papers, where="page"):
    """A page with the tables that it asks for.

    Args:
        text: of the page, Markdown.
        collection: `Collection` of the runs.
        papers: dict, paper -> name -> `Experiment`.
        where: name of the page, for an error.

    Raises: UserError: if a comment asks for an entry that does not exist, or a table has no end.
    """
    parts = FENCED.split(text)  # every second one is code, which may show such a comment
    plain = "".join(parts[::2])
    if plain.count("<!-- results:") != len(BLOCK.findall(plain)) or plain.count(END) != len(BLOCK.findall(plain)):
        raise UserError(f"{where}: a table of results begins or ends without the other. Its end is {END}.")
    parts[::2] = [
        BLOCK.sub(lambda found: _block(found["request"], collection, papers, where), one) for one in parts[::2]
    ]
    return "".join(parts)


def _block(request, collection, papers, where):
    paper, _, rest = request.partition(" ")
    entry, _, form = rest.partition(" ")
    known = {f"{one} {name}": experiment for one, entries in papers.items() for name, experiment in entries.items()}
    if f"{paper} {entry}" not in known:
        raise UserError(f"{where}: results: no entry `{paper} {entry}`. {nearest(f'{paper} {entry}', known)}")
    if form not in ("", BY_DEPTH):
        raise UserError(f"{where}: results: `{form}` is no form of a table. Say `{BY_DEPTH}`, or nothing.")
    found = [one for one in collection.found if (one.paper, one.entry) == (paper, entry)]
    rows = rows_of(known[f"{paper} {entry}"], found)
    if form:
        rows = [row for row in rows if row.metric is METRICS["test_error"] and row.is_run]
    if any(row.is_there for row in rows):
        lines = _by_depth(rows) if form else _by_network(rows)
    else:
        lines = ["The ledger has no run of it."]
    return "\n".join([f"<!-- results: {request} -->", "", *lines, "", END])


def _by_network(rows):
    """A row a network, each figure beside the paper's."""
    networks = {}  # what was trained alike -> title of a figure -> its row
    for row in rows:
        networks.setdefault((row.network, row.epochs, row.hardware, row.command), {})[row.metric.title] = row
    titles = list(dict.fromkeys(row.metric.title for row in rows))
    has_paper = {title for title in titles if any(row.paper is not None and row.metric.title == title for row in rows)}
    heads = [head for title in titles for head in (title, *(["paper"] if title in has_paper else []))]
    apart = _differing(rows)
    lines = [f"| network | {' | '.join([*heads, *apart])} |", "|---" * (1 + len(heads) + len(apart)) + "|"]
    for (network, *_), figures in networks.items():
        cells = [network]
        for title in titles:
            row = figures.get(title)
            cells.append("" if row is None else row.ours)
            if title in has_paper:
                cells.append("" if row is None else row.papers)
        one = next(iter(figures.values()))
        cells += [_facts(one)[name] if one.is_run else "" for name in apart]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *_common(rows, apart)]


def _by_depth(rows):
    """The test error: a row a series, a column a depth; a series of several data sets or lengths has a row of each."""
    several = {name for name in ("data_set", "epochs") if len({getattr(row, name) for row in rows}) > 1}
    series = {}
    for row in rows:
        series.setdefault(_label(row, several), {}).setdefault(row.depth, []).append(row.ours)
    depths = sorted({row.depth for row in rows})
    lines = [f"| test error | {' | '.join(map(str, depths))} |", "|---" * (1 + len(depths)) + "|"]
    for label, cells in series.items():  # several in a cell: trained by several versions
        lines.append(f"| {label} | {' | '.join('; '.join(cells.get(depth, [])) for depth in depths)} |")
    return [*lines, *_common(rows)]


def _label(row, several):
    """A row's series, with the data set and the epochs where there are several of them."""
    text = row.series
    if "data_set" in several and row.data_set not in text:
        text = f"{row.data_set} {text}"
    return f"{text}, {row.epochs} epochs" if "epochs" in several else text


def _facts(row):
    """What a reader asks of a figure, by the name of its column."""
    return {"seeds": row.seeds_told, "epochs": f"{row.epochs}", "data": row.data, "on": row.hardware, "date": row.date}


def _differing(rows):
    """The facts that are not the same for all rows."""
    facts = [_facts(row) for row in rows if row.is_run]
    return [name for name in (facts[0] if facts else {}) if len({one[name] for one in facts}) > 1]


def _common(rows, left_out=()):
    """Lines with the facts of all runs, several where they differ, but for those that have columns; of no run none."""
    facts = [_facts(row) | {"seeds": f"{len(row.seeds)}"} for row in rows if row.is_run]
    if not facts:
        return []
    values = {name: "; ".join(sorted({one[name] for one in facts})) for name in facts[0] if name not in left_out}
    counted = [f"{values[name]} {name if values[name] != '1' else name[:-1]}" for name in COUNTED if name in values]
    told = [", ".join(counted), *(value for name, value in values.items() if name not in COUNTED)]
    return ["", ". ".join(text for text in told if text) + "."]


def write_pages(workdir, pages):
    """Fill the tables of pages from the runs under a folder; a page without one is left as it is.

    Args:
        workdir: folder above the runs' folders.
        pages: paths of Markdown files.

    Returns: list of lines, a page that was written each.
    Raises: UserError: see `filled`; no page is written then.
    """
    from dirac_keras.experiments import PAPERS

    collection = collect(pathlib.Path(workdir), PAPERS)
    texts = {}
    for page in map(pathlib.Path, pages):
        old = page.read_text(encoding="utf-8")
        new = filled(old, collection, PAPERS, page)
        if new != old:
            texts[page] = new
    for page, text in texts.items():
        write_text(page, text)
    return [f"written: {page}" for page in texts]


if __name__ == "__main__":
    import sys

    try:
        print("\n".join(write_pages(sys.argv[1], sys.argv[2:])))
    except UserError as error:
        sys.exit(f"error: {error}")
