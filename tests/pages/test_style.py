"""Every picture of the package has the one style."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
OWN = re.compile(r"import matplotlib|from matplotlib(\.figure|\.pyplot)? import .*(Figure|pyplot)|\bplt\.")


def sources():
    for folder in ("dirac_keras", "pipelines", "tuning", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.parent != ROOT / "dirac_keras" / "pages":
                yield path, path.read_text(encoding="utf-8")


def test_figures_are_made_in_one_place():
    assert [str(path) for path, text in sources() if OWN.search(text)] == []


def test_who_makes_a_figure_enters_the_style():
    makers = {path.name: text for path, text in sources() if "new_figure(" in text}
    assert len(makers) >= 10 and [name for name, text in makers.items() if "style()" not in text] == []
