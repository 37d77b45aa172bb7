"""Names in the text of a page and of a picture: from right to left, in wide letters, of joined or marked letters."""

import warnings

import pytest

from dirac_keras.pages import (
    columns,
    drawable,
    drawing,
    entitle,
    headline,
    in_legend,
    in_place,
    isolated,
    legend,
    new_figure,
    save_figure,
    shortened,
)

HEBREW = "\u05db\u05dc\u05d1"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # three people, joined to one letter
FLAG = "\U0001f1eb\U0001f1ee"


def test_a_number_behind_a_name_stays_behind_it():
    """Left-to-right marks on both sides: without them the number is drawn to the left of the name."""
    assert in_place(HEBREW) == f"\u200e{HEBREW}\u200e"
    assert in_place("cat") == "cat"


def test_a_name_in_a_sentence_is_one_line_and_one_of_blanks_is_seen():
    assert isolated({"name": ["two\nlines", "\t ", "", 3]}) == {"name": ["two lines", "' '", "", 3]}
    assert isolated(f"{HEBREW}\n(3)") == f"\u2068{HEBREW} (3)\u2069"


@pytest.mark.parametrize(
    "letter", ["e\u0301", FAMILY, FLAG, "\U0001f44d\U0001f3fd", "\u1112\u1161\u11ab", "\u06a9\u200c"]
)
def test_a_long_name_is_cut_between_letters(letter):
    """Not within an accented letter, a family, a flag, a hand, a syllable of Hangul or before a joiner."""
    wide = columns(letter)
    assert shortened(letter * 4, 4 * wide) == letter * 4
    cut = shortened(letter * 30, 24)
    assert set(cut.replace(letter, "")) == {"\N{HORIZONTAL ELLIPSIS}"}
    assert columns(cut) <= 24 and cut.startswith(letter) and cut.endswith(letter)


def test_letters_of_chinese_are_twice_as_wide():
    assert columns("\u6f22\u5b57 a") == 6
    assert shortened("\u6f22" * 24, 24) == "\u6f22" * 8 + "\N{HORIZONTAL ELLIPSIS}" + "\u6f22" * 3


def test_marks_that_tower_over_a_picture_are_left_out():
    assert drawable("Z" + "\u0351" * 50 + "o\x1b\n") == "Z\u0351\u0351o\ufffd"
    assert drawable(FAMILY + "\u2764\ufe0f") == FAMILY + "\u2764\ufe0f"


def test_a_legend_and_titles_have_every_name_as_it_is(tmp_path):
    """Also one that matplotlib would leave out of a legend, or take for a formula that is none."""
    names = ["_hidden", "$\\frac{", f"{HEBREW} (3)", "x" * 200]
    figure, axis = new_figure(6, 3)
    for name in names:
        axis.plot([0, 1], label=in_legend(name))
    legend(figure)
    entitle(axis, names[1])
    headline(figure, names[1])
    save_figure(figure, tmp_path / "a.png")
    shown = [text.get_text().replace("\u200e", "") for text in figure.legends[0].get_texts()]
    assert shown[:3] == names[:3] and len(shown[3]) == 60


def test_letters_that_no_font_has_are_told_once(tmp_path, caplog, monkeypatch):
    """One line of the package in place of a warning of matplotlib for each letter; other warnings stay."""
    monkeypatch.setattr(drawing, "_installed", lambda families: [])
    drawing._tell_of_letters.cache_clear()
    figure, axis = new_figure(2, 1)
    axis.set_title("\u6f22\u5b57")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "a.png")
        save_figure(figure, tmp_path / "b.png")
        with pytest.raises(UserWarning, match="other"), drawing.style():
            warnings.warn("other", stacklevel=1)
    assert caplog.text.count("boxes in place of letters") == 1


def test_fonts_that_are_installed_have_what_the_first_lacks(monkeypatch):
    import matplotlib

    assert drawing._installed(("STIXGeneral", "No Such Font")) == ["STIXGeneral"]  # which matplotlib brings
    with drawing.style():
        assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"
