"""Names out of files reach the terminal without their escape sequences."""

import logging

import pytest

from dirac_keras.cli.group import Invocation
from dirac_keras.cli.speech import output

HOSTILE = "cat\x1b]0;owned\x07\x1b[2J\x9b31m\u202edog"  # sets the title, clears the screen, turns text around
SHOWN = r"cat\x1b]0;owned\x07\x1b[2J\x9b31m\u202edog"


def test_printable_text_stays_as_it_is():
    text = "één, 猫, 🐈\u200d⬛, \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 [bold]\n\tin a line of its own"
    assert output.printable(text) == text


def test_bytes_that_are_no_utf8_are_shown_as_bytes():
    assert output.printable(b"\xe9t\xe9.png".decode("utf-8", "surrogateescape")) == r"\xe9t\xe9.png"


def log(text):
    record = logging.LogRecord("dirac_keras", logging.INFO, "", 0, "class %s", (text,), None)
    print(output.OptionFormatter(Invocation()).format(record))


def fail(text):
    with pytest.raises(SystemExit):
        output.fail(text, 1)


WAYS = {
    "line": output.say,
    "title": lambda text: output.print_rows(text, [{"a": "1" * 80}]),
    "cell": lambda text: output.print_rows("table", [{"layer": text}]),
    "error": fail,
    "log": log,
}


@pytest.mark.parametrize("way", WAYS)
def test_escape_sequences_are_shown_not_sent(way, capsys):
    WAYS[way](HOSTILE)
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert SHOWN in printed
    assert not any(character in printed for character in "\x1b\x07\x9b\u202e")


def test_a_row_of_a_table_is_a_line_whatever_its_cells_have(capsys):
    output.print_rows("images", [{"image": "two\nlines.png", "class": "a"}])
    assert "two lines.png" in capsys.readouterr().out
