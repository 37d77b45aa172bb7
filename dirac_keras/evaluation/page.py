"""A report as one HTML page: what it comes to first, then the parts that carry it."""

from dirac_keras.evaluation import answer_sections, sections
from dirac_keras.evaluation.outcomes import CLASSES, LABELS
from dirac_keras.evaluation.summary import headline
from dirac_keras.pages import Page, isolated


def make_page(report):
    """The page of a report.

    Args:
        report: `Report`.

    Returns: `pages.Page`, to be written.
    """
    record = isolated(report.record)
    part = "" if record["split"] == "all" else f"{record['split']} "
    other = f", compared with {record['comparison']['model']}" if "comparison" in record else ""
    page = Page(f"Evaluation of {record['model']}{other}", f"{record['images']:,} {part}images of {record['data']}")
    level, text, points = headline(record)
    page.section("", page.verdict(level, text, points) + page.facts(sections.facts(record)))
    if "comparison" in record:
        page.section("Comparison", *sections.comparison(page, record))
    if "views" in record:
        page.section("Test-time augmentation", *sections.views(page, record))
    if record["task"] == CLASSES:
        _add_classes(page, record)
    elif record["task"] == LABELS:
        is_long = len(record["per_label"]) > answer_sections.FEW
        if is_long:
            page.section("Labels it finds worst", *answer_sections.labels(page, record, most=20))
        page.section("All labels" if is_long else "Labels", *answer_sections.labels(page, record), folded=is_long)
    else:
        page.section("Values", *answer_sections.values(page, record))
    if record["mistakes"]:
        page.section("Worst mistakes", *sections.mistakes(page, record, report.pictures))
    if "corruptions" in record:
        page.section("Corrupted images", *sections.corruptions(page, record))
    page.section("How this was measured", *sections.method(page, record), folded=True)
    return page


def _add_classes(page, record):
    is_long = len(record["per_class"]) > answer_sections.FEW
    if is_long:
        page.section("Classes it finds worst", *answer_sections.classes(page, record, most=20))
    page.section("All classes" if is_long else "Classes", *answer_sections.classes(page, record), folded=is_long)
    page.section("What is taken for what", *answer_sections.confusion(page, record))
    page.section("Calibration", *answer_sections.calibration(page, record))
