"""A diagnosis for people: rows of a table, and one HTML page with the pictures inside."""

import base64
import html
import io

from dirac_keras.diagnostics.pictures import CURVES, plot_depth
from dirac_keras.diagnostics.verdict import judge
from dirac_keras.files.atomic import write_text

# Column of the table -> (group, field, format) of a `LayerRecord`.
COLUMNS = {
    "mean |h|": ("activations", "mean_absolute", "{:.3g}"),
    "max |h|": ("activations", "max_absolute", "{:.3g}"),
    "units > 0.05": ("activations", "units_above", "{:.0%}"),
    "dead": ("activations", "dead_units", "{:.0%}"),
    "rank": ("spectrum", "rank", "{}"),
    "effective rank": ("spectrum", "effective_rank", "{:.1f}"),
    "collinear": ("spectrum", "collinear_pairs", "{:.0%}"),
    "kappa(W)": ("weights", "condition_number", "{:.2g}"),
    "gradient": ("gradients", "kernel_gradient_norm", "{:.2g}"),
    "cosine": ("gradients", "cosine", "{:.2f}"),
    "mean a": ("scales", "identity_scale_mean", "{:.3g}"),
    "mean b": ("scales", "filter_scale_mean", "{:.3g}"),
}
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px } td, th { padding: .2em .7em; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f4f4f4 }
figure { display: inline-block; margin: .5em } img { max-width: 36em; width: 100% } .scroll { overflow-x: auto }
.verdict { border-left: 6px solid #999; padding: .6em 1em; background: #f7f7f7 } .verdict ul { margin: .4em 0 0 }
.good { border-color: #2a8f4e } .bad { border-color: #c0392b }
"""


def layer_rows(diagnosis):
    """The table: a dict of texts a layer, with the columns that at least one layer has."""
    rows = []
    for record in diagnosis.layers:
        row = {"layer": record.name, "units": f"{record.units:,}"}
        row |= {column: _cell(record, *source) for column, source in COLUMNS.items()}
        rows.append(row)
    empty = {column for column in COLUMNS if not any(row[column] for row in rows)}
    return [{column: cell for column, cell in row.items() if column not in empty} for row in rows]


def missing_lines(diagnosis):
    """What was not measured and why, or of a part only: a line a reason, the layers it holds for together."""
    layers = {}
    for missing in diagnosis.not_measured:
        layers.setdefault((missing.what, missing.why), []).append(missing.layer or "the model")
    lines = [f"not measured: {what} of {_some_of(names)}: {why}" for (what, why), names in layers.items()]
    sampled = {}
    for record in diagnosis.layers:
        if record.spectrum is not None and record.spectrum.units_sampled:
            sampled.setdefault(record.spectrum.units, []).append(f"{record.name} ({record.units:,})")
    return lines + [
        f"of a part: the spectrum (rank, collinear) is that of {units:,} units, drawn at random, of {_some_of(names)}"
        for units, names in sampled.items()
    ]


def write_page(diagnosis, path, title):
    """Write one HTML file that needs no other: verdict, what was not measured, a picture of each quantity, table.

    Args:
        diagnosis: `Diagnosis`.
        path: of the file; one that is there is replaced.
        title: str.
    """
    rows = layer_rows(diagnosis)
    header = "".join(f"<th>{html.escape(column)}</th>" for column in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>\n" for row in rows
    )
    verdict = _verdict(judge(diagnosis))
    lines = "".join(f"<p>{html.escape(line)}</p>\n" for line in missing_lines(diagnosis))
    pictures = "".join(
        f'<figure><img alt="{html.escape(label)} by layer" src="data:image/png;base64,{data}"></figure>\n'
        for label, data in _pictures(diagnosis)
    )
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        f"<h1>{html.escape(title)}</h1>\n<p>{diagnosis.samples:,} images, {len(rows)} layers.</p>\n{verdict}{lines}"
        f'{pictures}<div class="scroll"><table><tr>{header}</tr>\n{body}</table></div>\n</body></html>\n',
    )


def _verdict(verdict):
    state = {True: "good", False: "bad", None: "open"}[verdict.will_train]
    findings = "".join(
        f"<li>{html.escape(finding.evidence)}<br><em>{html.escape(finding.advice)}</em></li>\n"
        for finding in verdict.findings
    )
    findings += "".join(f"<li>not judged: {html.escape(reason)}</li>\n" for reason in verdict.not_judged)
    summary = html.escape(f"Verdict: {verdict.summary}")
    return f'<div class="verdict {state}"><strong>{summary}</strong><ul>{findings}</ul></div>\n'


def _pictures(diagnosis):
    for quantity, curve in CURVES.items():
        try:
            figure = plot_depth(diagnosis, quantity)
        except ValueError:  # no layer has it
            continue
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=90)
        yield curve.label, base64.b64encode(file.getvalue()).decode()


def _cell(record, group, field, form):
    value = getattr(getattr(record, group), field, None) if getattr(record, group) is not None else None
    if isinstance(value, dict):  # by threshold: the first
        value = next(iter(value.values()), None)
    return "" if value is None else form.format(value)


def _some_of(names):
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
