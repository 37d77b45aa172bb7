"""Whole numbers have an upper end, which a help text does not need; ranges of others are finite."""

import pytest
import rich_click as click
from click.testing import CliRunner

from dirac_keras.cli.group import LARGEST, bound_numbers


@pytest.fixture(scope="module")
def command():
    @click.command()
    @click.option("--depth", type=int)
    @click.option("--rounds", type=click.IntRange(min=1))
    @click.option("--rate", type=click.FloatRange(min=0, min_open=True))
    def main(depth, rounds, rate):
        click.echo(f"depth {depth} rounds {rounds} rate {rate}")

    bound_numbers(main)
    return main


def test_numbers_within_are_taken(command):
    arguments = ["--depth", str(LARGEST), "--rounds", "1", "--rate", "0.5"]
    assert CliRunner().invoke(command, arguments).output == f"depth {LARGEST} rounds 1 rate 0.5\n"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--depth", str(LARGEST + 1), "whole numbers end at 9,007,199,254,740,992"),
        ("--depth", "-" + "9" * 400, "whole numbers end at"),
        ("--rounds", "9" * 400, "whole numbers end at"),
        ("--rounds", "0", "0 is not in the range x>=1"),
        ("--rate", "nan", "nan is no finite number"),
    ],
)
def test_numbers_beyond_are_refused(command, flag, value, message):
    result = CliRunner().invoke(command, [flag, value])
    assert result.exit_code == 2 and message in " ".join(result.output.replace("│", "").split())


def test_help_text_has_no_bound_that_no_one_meets(command):
    text = CliRunner().invoke(command, ["--help"]).output
    assert "x>=1" in text and "x>0" in text and str(LARGEST) not in text
