"""The doctor's page for integers: what each number of bits does to the network, layer by layer."""

import math

from dirac_keras.diagnostics.limits import draw_limit
from dirac_keras.diagnostics.pictures import draw, whole_numbers
from dirac_keras.pages import COLOURS, Cell, Page, legend, new_figure, style


def write_quantization_page(verdicts, audits, path, title, notes=()):
    """Write one HTML file that needs no other: for each number of bits the verdict, its pictures, the table.

    Args:
        verdicts: list of `QuantizationVerdict`, one for each number of bits.
        audits: list of `QuantizationAudit` that they judge, in the same order.
        path: of the file; one that is there is replaced.
        title: str.
        notes: texts on the data.
    """
    page = Page(title, f"{audits[0].images:,} images, {len(audits[0].layers)} layers with weights.")
    if notes:
        page.section("", page.text("\n".join(notes)))
    for verdict, audit in zip(verdicts, audits, strict=True):
        named = {name for finding in verdict.findings for name in finding.layers}
        body = _verdict(page, verdict) + _pictures(page, verdict, audit) + _table(page, audit.rows(), "layer", named)
        body += f"<details><summary>Tensors of activations, int{audit.activation_bits}</summary>\n"
        body += _table(page, audit.tensor_rows(), "tensor", named) + "</details>\n"
        page.section(f"int{audit.bits} weights, int{audit.activation_bits} activations", body)
    page.write(path, overwrite=True)


def _verdict(page, verdict):
    """Good if it survives, fair if cures that leave the graph as it is make it survive."""
    is_mended = verdict.mended_db is not None and verdict.mended_db >= verdict.target
    level = "good" if verdict.survives else "fair" if is_mended else "bad"
    points = [f"{finding.evidence}\n{finding.advice}" for finding in verdict.findings]
    return page.verdict(level, verdict.summary, points + [f"measured: {line}" for line in verdict.mends])


def _pictures(page, verdict, audit):
    parts = []
    for what, records in (("layer", audit.layers), ("tensor", audit.tensors)):
        if not records:
            continue
        least = verdict.target + 10 * math.log10(len(records))  # an n-th of the noise that the target allows
        below = sum(record.alone_db < least for record in records)
        figure = _picture(what, [record.alone_db for record in records], least, audit)
        found = f"Here: {below} of {len(records)} below."
        healthy = (
            f"Healthy: each above {least:.1f} dB, an equal part of the noise that {verdict.target:g} dB at the outputs "
            "allow."
        )
        alt = f"Signal to noise, each {what} rounded alone, int{audit.bits}. {found}"
        parts.append(page.picture(figure, alt, f"{healthy}\n{found}"))
    return page.grid(*parts)


@style()
def _picture(what, decibels, least, audit):
    kind = f"int{audit.bits} weights of each layer" if what == "layer" else f"int{audit.activation_bits} of each tensor"
    figure, axis = new_figure(6.5, 3.6)
    draw(axis, list(enumerate(decibels, start=1)), "", COLOURS[0])
    axis.set(xlabel=what, ylabel="signal to noise of the outputs, dB", title=f"{kind}, rounded alone")
    draw_limit(axis, least, f"below {least:.1f} dB: more than its share", is_least=True)
    whole_numbers(axis)
    legend(figure, least=1)
    return figure


def _table(page, rows, key, named):
    marked = []
    for number, row in enumerate(rows, start=1):
        name = row.pop(key)
        marked.append({key: Cell(name, "bad" if name in named else ""), "#": number} | row)
    return page.table(list(marked[0]), marked) if marked else ""
