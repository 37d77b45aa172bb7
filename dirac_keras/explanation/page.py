"""The page of explanations: a picture for each image, its numbers, what the layers see."""

from dirac_keras.explanation.pictures import TITLES
from dirac_keras.explanation.result import predicted_of
from dirac_keras.files.amounts import counted
from dirac_keras.pages import Page, isolated

READING = {
    "gradcam": "Grad-CAM: the maps of one layer, weighed by how much the score of the class gains by each. Bright is "
    "where the layer speaks for the class; what speaks against it is not shown.",
    "integrated_gradients": "Integrated gradients: what each pixel adds to the score on the way from the baseline to "
    "the image. Red adds to it, blue takes from it. All pixels together sum to the difference of the scores; "
    "incompleteness is how far they miss it.",
    "occlusion": "Occlusion: a window is laid over the image. Red is where the score falls when it is covered, blue "
    "where it rises.",
}
COLUMNS = ("image", "method", "class", "score", "probability", "predicted", "layer", "incompleteness")


def build_page(title, subtitle, items, skipped=(), fields=(), pictures=()):
    """A `Page` of explanations.

    Args:
        title, subtitle: texts.
        items: list of dict: `image`, `panels`: bytes of the pictures, of the image and of each method;
            `explanations`: records as `Explanation.record` gives them.
        skipped: list of dict: `image`, `error`.
        fields: list of records of receptive fields, by depth.
        pictures: list of `(PNG bytes, text for who does not see it, caption)`, of the receptive fields.

    Returns: `pages.Page`.
    """
    page, items = Page(title, subtitle), [isolated(item) for item in items]
    methods = list(dict.fromkeys(record["method"] for item in items for record in item["explanations"]))
    if skipped:
        lines = [f"{one['image']}: {one['error']}" for one in skipped]
        page.section("Left out", page.verdict("bad", f"{counted(len(skipped), 'image')} could not be read.", lines))
    body = page.text("\n".join(READING[method] for method in methods))
    for item in items:
        first = item["explanations"][0]
        alts = [
            "as the network sees it",
            *(f"{TITLES[one['method']]} of {one['class']}" for one in item["explanations"]),
        ]
        shown = [page.picture(file, f"{item['image']}, {alt}") for file, alt in zip(item["panels"], alts, strict=True)]
        body += page.text(f"{item['image']}: {_says(first)}") + page.grid(*shown)
    page.section("Images", body)
    rows = [_row(item["image"], record) for item in items for record in item["explanations"]]
    used = [column for column in COLUMNS if any(row[column] not in ("", None) for row in rows)]
    page.section("Numbers", page.table(used, [{name: row[name] for name in used} for row in rows]))
    if fields:
        body = "".join(page.picture(*one) for one in pictures)
        page.section(
            "What the layers see",
            body + page.table(*_fields_table(fields)),
            "The theoretical field is the box of pixels that the middle position of a layer is computed from. The "
            "effective one is where the gradient says that it looks: its side is the square root of the number of "
            "pixels above 4.55 % of the largest.",
        )
    return page


def _says(record):
    if record["probability"] is None:
        return f"{record['class']}: {record['predicted']:.4g}"
    what = f"predicted: {record['predicted']}"
    if record["class"] == record["predicted"]:
        return what + _share(record)
    return f"{what}; explained: {record['class']}{_share(record)}"


def _share(record):
    return "" if record["probability"] is None else f", {record['probability']:.1%}"


def _row(image, record):
    missed = record.get("incompleteness")
    return {
        "image": image,
        "method": TITLES[record["method"]],
        "class": record["class"],
        "score": f"{record['score']:.3f}",
        "probability": None if record["probability"] is None else f"{record['probability']:.1%}",
        "predicted": predicted_of(record),
        "layer": record.get("layer", ""),
        "incompleteness": None if missed is None else f"{missed:.1%}",
    }


def _fields_table(fields):
    columns = ["layer", "depth", "theoretical, pixels", "effective side"]
    has_scales = any(one["scales"] for one in fields)
    rows = []
    for one in fields:
        sides = "" if one["sides"] is None else " x ".join(map(str, one["sides"]))
        row = [one["layer"], one["depth"], sides, f"{one['effective_side']:.1f}"]
        if has_scales:
            found = one["scales"] or {}
            means = [found.get("identity_scale_mean"), found.get("filter_scale_mean")]
            row += ["" if mean is None else f"{mean:.3f}" for mean in means]
        rows.append(row)
    return [*columns, *(["mean a", "mean b"] if has_scales else [])], rows
