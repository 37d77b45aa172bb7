"""One self-contained HTML file: verdicts, pictures, tables, parts that fold. Nothing in it asks for anything else."""

import base64
import hashlib
import importlib.resources

from dirac_keras.errors import check_choice
from dirac_keras.files.atomic import refuse_existing, write_text
from dirac_keras.pages.embedding import image_tag
from dirac_keras.pages.tables import table
from dirac_keras.pages.text import escape, paragraphs, running, slug
from dirac_keras.version import __version__

LEVELS = {"good": "\u2713", "fair": "!", "bad": "\u2717"}  # and the sign that stands beside the colour
MOST_WITHOUT_CONTENTS = 3  # sections


class Page:
    """A page that explains.

    What `verdict`, `picture`, `table` and `text` return is HTML for the body of a `section`. Every other argument is
    text: markup in it is shown, not obeyed.

    ```python
    page = Page("digits", "1,437 images")
    page.section("Verdict", page.verdict("good", "Will train."))
    page.section("Layers", page.table(["layer", "rank"], [["dense", 12]]), folded=True)
    page.write("report.html")
    ```

    Args:
        title: text, of the page and of the browser's tab.
        subtitle: text below it.
    """

    def __init__(self, title, subtitle=""):
        self.title, self.subtitle = title, subtitle
        self._sections = []  # (id, title, HTML)

    def section(self, title, body_html, note="", folded=False):
        """Add a part.

        Args:
            title: text of its heading; "" for none, where the body says all.
            body_html: HTML.
            note: text below the heading: how to read what follows.
            folded: bool, whether a reader opens it first. It is printed open.
        """
        name = slug(title, {taken for taken, _, _ in self._sections})
        body = (f'<p class="note">{running(note)}</p>\n' if note else "") + body_html
        heading = f"<h2>{escape(title)}</h2>" if title else ""
        summary = f"<details><summary>{heading or 'more'}</summary>"
        inner = f"{summary}\n{body}</details>" if folded else f"{heading}\n{body}"
        self._sections.append((name, title, f'<section id="{name}">\n{inner}\n</section>\n'))

    def verdict(self, level, text, points=()):
        """HTML of a box with what it all comes to.

        Args:
            level: `"good"`, `"fair"` or `"bad"`.
            text: one sentence; further lines stand below it in smaller type.
            points: texts of a list below; lines of one after its first are advice, and stand apart.
        """
        check_choice("level", level, LEVELS)
        first, *more = str(text).splitlines() or [""]
        listed = "".join(f"<li>{_lines(point)}</li>\n" for point in points)
        return (
            f'<div class="verdict {level}"><p><span class="sign" aria-hidden="true">{LEVELS[level]}</span> '
            f'<span class="unseen">{level}: </span><strong>{running(first)}</strong></p>\n'
            + paragraphs("\n".join(more))
            + (f"<ul>\n{listed}</ul>\n" if listed else "")
            + "</div>\n"
        )

    def picture(self, figure, alt, caption="", vector=False, photo=False):
        """HTML of a picture inside the page.

        Args:
            figure: `matplotlib.figure.Figure` made in `style()`, closed after: dark pages turn its ground dark; or
                pixels, uint8 `(height, width[, 3 or 4])`, or bytes of an image file, which stay as they are.
            alt: text for who does not see it.
            caption: text below it; further lines are paragraphs.
            vector: bool, a figure as SVG, sharp at any size, in place of PNG; for few points.
            photo: bool, whether a figure shows photos or other colours that must stay: it keeps its white ground.
        """
        tag, is_drawing = image_tag(figure, escape(alt), vector, photo)
        below = f"<figcaption>{_lines(caption)}</figcaption>" if caption else ""
        kind = ' class="drawing"' if is_drawing else ""
        return f"<figure{kind}>{tag}{below}</figure>\n"

    def table(self, columns, rows, sortable=True, caption=""):
        """HTML of a table.

        Args:
            columns: texts.
            rows: a sequence of cells each, or a dict column -> cell. A cell is text, a number, None (empty) or a
                `Cell`. A column of nothing but numbers (`1,024`, `12 %`, `3e-5`, `inf`) stands at the right.
            sortable: bool, whether a click on a heading sorts by its column.
            caption: text above it.
        """
        return table(columns, rows, sortable, caption)

    def text(self, text):
        """HTML of paragraphs, one for each line."""
        return paragraphs(text)

    def grid(self, *parts):
        """HTML of parts side by side where there is room, below each other where there is none."""
        return f'<div class="grid">\n{"".join(parts)}</div>\n'

    def facts(self, facts):
        """HTML of a short list of names and values: a dict of texts."""
        rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{running(value)}</dd></div>" for name, value in facts.items())
        return f"<dl>{rows}</dl>\n"

    def html(self):
        """The document."""
        sheet, script = _resource("sheet.css"), _resource("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        # No request at all, and no script but ours: should markup ever slip through, it can do nothing.
        policy = (
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        )
        subtitle = f'<p class="subtitle">{running(self.subtitle)}</p>\n' if self.subtitle else ""
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f'<link rel="icon" href="data:,">\n<title>{escape(self.title)}</title>\n<style>{sheet}</style>\n</head>\n'
            f"<body>\n<header>\n<h1>{escape(self.title)}</h1>\n{subtitle}{self._contents()}</header>\n<main>\n"
            + "".join(body for _, _, body in self._sections)
            + f"</main>\n<footer>Written by dirac_keras {escape(__version__)}.</footer>\n"
            f"<script>{script}</script>\n</body>\n</html>\n"
        )

    def _repr_html_(self):
        """In a notebook: the page in a frame of its own, whose style and script touch nothing else."""
        return (
            f'<iframe title="{escape(self.title)}" srcdoc="{escape(self.html())}" sandbox="allow-scripts" '
            'style="width: 100%; height: 700px; border: 1px solid #bbbbbb"></iframe>'
        )

    def write(self, path, overwrite=False):
        """Write the page, whole or not at all.

        Args:
            path: of the file. Folders above it are made.
            overwrite: bool, whether a file that is there may be replaced.

        Raises: ValueError: if it is there and may not be replaced, or cannot be written.
        """
        refuse_existing(path, overwrite)
        write_text(path, self.html())

    def _contents(self):
        named = [(name, title) for name, title, _ in self._sections if title]
        if len(named) <= MOST_WITHOUT_CONTENTS:
            return ""
        links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in named)
        return f'<nav aria-label="contents"><ul>{links}</ul></nav>\n'


def _lines(text):
    first, *more = str(text).splitlines() or [""]
    return running(first) + "".join(f"<br><em>{running(line.strip())}</em>" for line in more)


def _resource(name):
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
