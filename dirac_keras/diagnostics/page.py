"""A diagnosis for people: rows of a table, and one HTML page that says the verdict, shows why, and folds the rest."""

from dirac_keras.diagnostics.curves import CURVES
from dirac_keras.diagnostics.evidence import gather_evidence
from dirac_keras.diagnostics.pictures import plot_depth
from dirac_keras.diagnostics.verdict import DEFAULT_THRESHOLDS, judge, layer_signs, margin
from dirac_keras.files.amounts import counted
from dirac_keras.listing import listed
from dirac_keras.pages import Cell, Page

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
CLOSE = 3.0  # a factor from the nearest threshold: a close call (docs/doctor.md)


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


def answer_lines(diagnosis):
    """What the network answers to the images, against always naming one class: one line, or none if it is not known."""
    answers = diagnosis.answers
    if answers is None:
        return []
    return [
        f"accuracy: {answers.accuracy:.1%} of {counted(answers.samples, 'image')} "
        f"(always naming the most frequent class: {answers.most_frequent:.1%})"
    ]


def write_page(diagnosis, path, title, thresholds=DEFAULT_THRESHOLDS):
    """Write one HTML file that needs no other.

    The verdict stands first, then the pictures that it rests on with their thresholds, the table of the layers, and
    all other quantities behind a fold.

    Args:
        diagnosis: `Diagnosis`.
        path: of the file; one that is there is replaced.
        title: str.
        thresholds: `Thresholds` of the verdict.
    """
    verdict = judge(diagnosis, thresholds)
    state = "before its first step" if diagnosis.at_start else "as it is"
    sizes = f"{counted(diagnosis.samples, 'image')}, {counted(len(diagnosis.layers), 'layer')}"
    page = Page(title, f"The network {state}: {sizes}.")
    page.section("Verdict", _verdict(page, diagnosis, verdict, thresholds))
    evidence = [
        page.picture(one.figure, f"{one.title} by layer. {one.found}", f"{one.healthy}\n{one.found}")
        for one in gather_evidence(diagnosis, thresholds)
    ]
    if evidence:
        note = "Layers are numbered in the order of computation. Dashed: the threshold; shaded: what is not healthy."
        page.section("What it rests on", page.grid(*evidence), note)
    page.section("Layers", _table(page, diagnosis, verdict, thresholds), "A click on a heading sorts.")
    missing = missing_lines(diagnosis)
    if missing:
        page.section("Not measured", page.text("\n".join(missing)))
    rest = [page.picture(figure, _title_of(figure), meaning) for figure, meaning in _pictures(diagnosis)]
    if rest:
        page.section("All quantities by layer", page.grid(*rest), "None of these decides.", folded=True)
    page.write(path, overwrite=True)


def _verdict(page, diagnosis, verdict, thresholds):
    level = {True: "fair" if verdict.findings else "good", False: "bad", None: "fair"}[verdict.will_train]
    text = verdict.summary[0].upper() + verdict.summary[1:]
    factor = margin(diagnosis, thresholds)
    if diagnosis.at_start and 1 / CLOSE < factor < CLOSE:
        level = "fair" if level == "good" else level
        text += f"\nA close call: a factor of {max(factor, 1 / factor):.1f} from the nearest threshold."
    text = "\n".join([text, *(line[0].upper() + line[1:] + "." for line in answer_lines(diagnosis))])
    points = [f"{finding.evidence}\n{finding.advice}" for finding in verdict.findings]
    return page.verdict(level, text, points + [f"not judged: {reason}" for reason in verdict.not_judged])


def _table(page, diagnosis, verdict, thresholds):
    """The rows of the terminal, with numbers of the layers, what decides beside them, and the layers found marked."""
    found = {name for finding in verdict.findings for name in finding.layers}
    extra = (
        {record.name: (share, size) for _, record, share, size in layer_signs(diagnosis)} if diagnosis.at_start else {}
    )
    rows = []
    for number, row in enumerate(layer_rows(diagnosis), start=1):
        name = row.pop("layer")
        share, size = extra.get(name, (None, None))
        decisive = {"own share": _number(share, thresholds.own_share), "relative gradient": _number(size)}
        decisive = {column: cell for column, cell in decisive.items() if extra}
        rows.append({"layer": Cell(name, "bad" if name in found else ""), "#": number} | decisive | row)
    return page.table(list(rows[0]), rows)


def _number(value, threshold=0.0):
    """A cell, marked where the number is below a threshold."""
    if value is None:
        return ""
    return Cell(f"{value:.2g}", "bad" if value < threshold else "", value)


def _pictures(diagnosis):
    for quantity, curve in CURVES.items():
        try:
            yield plot_depth(diagnosis, quantity), curve.meaning
        except ValueError:  # no layer has it
            continue


def _cell(record, group, field, form):
    value = getattr(getattr(record, group), field, None) if getattr(record, group) is not None else None
    if isinstance(value, dict):  # by threshold: the first
        value = next(iter(value.values()), None)
    return "" if value is None else form.format(value)


def _some_of(names):
    return listed(names)


def _title_of(figure):
    """The title of a picture in one line."""
    return " ".join(figure.axes[0].get_title("left").split())
