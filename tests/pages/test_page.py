"""The frame of every page, in a browser and as text."""

import html
import re

import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.pages import Cell, Page, new_figure, style
from tests.pages.browser import look

EVIL = "<img src=x onerror=alert(1)>"
WORDS = "</script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page with some of everything, every text of which is markup."""
    page = Page(EVIL, WORDS)
    page.section("Verdict", page.verdict("bad", f"{EVIL}\nmore", ["evidence\nadvice", WORDS]), note=EVIL)
    with style():
        figure, axis = new_figure()
        axis.plot([1, 2])
    page.section("Pictures", page.grid(page.picture(figure, EVIL, EVIL), page.picture(pixels(), "photo")))
    rows = [[EVIL, 10, "1e-3"], ["b", 9, Cell("inf", "bad")], ["c", "1,000", ""]]
    page.section("Numbers", page.table(["name", "count", WORDS], rows, caption=EVIL) + page.facts({"a": EVIL}))
    page.section("Wide", page.table([f"column {k}" for k in range(60)], [range(60)]), folded=True)
    path = tmp_path_factory.mktemp("page") / "page.html"
    page.write(path)
    return path


def pixels():
    return np.zeros((900, 1200, 3), np.uint8)


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_page_is_whole_and_no_wider_than_the_window(path, width, dark):
    seen = look(path, width, dark=dark)
    assert not seen.faults and seen.is_dark == dark
    assert seen.title == EVIL and seen.text.count(EVIL) >= 7 and WORDS in seen.text


def test_click_on_a_heading_sorts_by_number_and_a_third_restores(path):
    click = "document.querySelectorAll('#numbers th button')[{}].click()".format
    rows = "[...document.querySelectorAll('#numbers tbody tr')].map(r => r.cells[0].innerText)"
    assert look(path, run=f"{click(1)}, {rows}").value == ["b", EVIL, "c"]  # 9, 10, 1,000
    assert look(path, run=f"{click(1)}, {click(1)}, {rows}").value == ["c", EVIL, "b"]
    assert look(path, run=f"{click(1)}, {click(1)}, {click(1)}, {rows}").value == [EVIL, "b", "c"]
    assert look(path, run=f"{click(2)}, {click(2)}, {rows}").value == ["b", EVIL, "c"]  # infinite, 0.001, empty


def test_folded_parts_are_opened_for_the_printer(path):
    state = "[...document.querySelectorAll('details')].map(part => part.open)"
    before, printing, after = look(
        path, run=f"[{state}, (dispatchEvent(new Event('beforeprint')), {state}), "
        f"(dispatchEvent(new Event('afterprint')), {state})]"
    ).value  # fmt: skip
    assert (before, printing, after) == ([False], [True], [False])


def test_paper_is_light_whatever_the_reader_prefers(path):
    ground = "getComputedStyle(document.body).backgroundColor"
    drawing = "getComputedStyle(document.querySelector('figure.drawing img')).filter"
    assert look(path, dark=True, media="print", run=f"[{ground}, {drawing}]").value == ["rgb(255, 255, 255)", "none"]
    ground, drawing = look(path, dark=True, run=f"[{ground}, {drawing}]").value
    assert ground == "rgb(22, 24, 28)" and drawing.startswith("invert(1)")


def test_harness_sees_what_a_bad_page_does(tmp_path):
    """Without this the tests above could pass for no reason."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<body style='width:3000px'><img src=x onerror=alert(1)><script>console.log('hello')</script>"
        "<img src=http://127.0.0.1:9/y><script>throw new Error('broken')</script>"
    )
    seen = look(path, 400)
    assert seen.dialogs == ["1"] and seen.console == ["hello"] and any("broken" in text for text in seen.errors)
    assert any(text.endswith("/x") for text in seen.requests) and "http://127.0.0.1:9/y" in seen.requests
    assert any("pixels wide" in text for text in seen.faults)


def test_policy_refuses_markup_that_slipped_through(tmp_path):
    page = Page("title")
    page.section("part", "<img src=x onerror=alert(1)><script>alert(2)</script><img src=http://127.0.0.1:9/y>")
    page.write(tmp_path / "page.html")
    seen = look(tmp_path / "page.html")
    assert not seen.dialogs and not seen.requests and len(seen.errors) >= 2


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        Page("title").write(tmp_path / "page.html")
    Page("title").write(tmp_path / "page.html", overwrite=True)
    assert "<h1>title</h1>" in (tmp_path / "page.html").read_text()


def test_no_line_ends_within_a_number(tmp_path):
    """Behind words of every length, so that some number meets the edge of the page; names that look alike are text."""
    page = Page("")
    texts = [f"{'word ' * words}{'x' * letters} difference -1,234.5e-30" for words in range(8) for letters in range(5)]
    names = "block1e-2, size-1e-3x, 1.5e+3"
    page.section("a", page.verdict("good", "1e-3", [names]) + "".join(map(page.text, texts)), note="2.5e-4")
    page.write(tmp_path / "page.html")
    wholes = "[...document.querySelectorAll('.whole')]"
    lines = f"{wholes}.map(part => [part.innerText, part.getClientRects().length])"
    found = look(tmp_path / "page.html", 400, run=lines).value
    assert found == [["2.5e-4", 1], ["1e-3", 1]] + [["-1,234.5e-30", 1]] * len(texts)


def test_numbers_stand_at_the_right_and_sort_without_their_units():
    html = Page("").table(["a", "b"], [["1,024 kB", "12 %"], ["-3e-5", "x"]])
    assert 'class="number" data-sort="1024.0">1,024 kB' in html and 'data-sort="-3e-05"' in html
    assert "<td>12 %</td>" in html  # of a column that has a word: text
    assert 'data-sort="2118.0">2,118<' in Page("").table(["images"], [[2118]])
    assert '<td class="long">a name of many words' in Page("").table(["a"], [["a name of many words"], ["b"]])


def test_levels_are_told_in_words_too():
    assert 'unseen"> (bad)<' in Page("").table(["a"], [[Cell("1", "bad")]])
    assert '<span class="unseen">fair: ' in Page("").verdict("fair", "so so")
    with pytest.raises(UserError, match="level"):
        Page("").verdict("worst", "")


def test_broken_file_names_and_control_characters_are_shown_as_unknown():
    html = Page("a\x00b", "\udcff").html()
    assert "a\ufffdb" in html and html.encode()


def test_a_notebook_shows_a_page_in_a_frame_and_a_figure_as_a_picture():
    page = Page("<b>", "a page")
    (document,) = re.findall('srcdoc="([^"]*)"', page._repr_html_())
    assert html.unescape(document) == page.html() and "<b>" not in page._repr_html_()
    figure, _ = new_figure(2, 1)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_style_is_over_after_it():
    import matplotlib

    def settings():
        return {name: value for name, value in matplotlib.rcParams.items() if name != "backend"}  # not chosen yet

    before = settings()
    with style():
        assert matplotlib.rcParams["axes.grid"]
    assert settings() == before


@pytest.mark.parametrize("figure", [b"text", np.zeros((2, 2)), np.zeros((2, 2, 5), np.uint8)])
def test_what_is_no_picture_is_refused(figure):
    with pytest.raises(UserError, match="figure must be"):
        Page("").picture(figure, "alt")
