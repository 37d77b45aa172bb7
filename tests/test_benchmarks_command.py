"""What the commands of the benchmarks have in common: mistakes are one line, before anything is measured."""

import pathlib
import re

import click
import pytest
from click.testing import CliRunner

import benchmarks
from benchmarks.__main__ import command_of
from benchmarks.command import ABOVE_ZERO, Benchmark
from dirac_keras.errors import UserError


@click.command(cls=Benchmark)
@click.option("--seconds", type=ABOVE_ZERO, default=1.0)
@click.option("--data-dir")
@click.option("--json", "path", type=click.Path())
def measuring(seconds, data_dir, path):
    if data_dir == "absent":
        raise UserError("No data in absent; give another `data_dir`.")
    if data_dir == "odd":
        raise KeyError("a fault of the software")
    click.echo("measured")


def test_error_that_its_reader_can_mend_is_one_line_with_the_options_of_the_command():
    result = CliRunner().invoke(measuring, ["--data-dir", "absent"])
    assert (result.exit_code, result.output) == (1, "Error: No data in absent; give another --data-dir.\n")


def test_fault_keeps_its_traceback():
    with pytest.raises(KeyError, match="fault of the software"):
        CliRunner().invoke(measuring, ["--data-dir", "odd"], catch_exceptions=False)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds_are_finite_and_above_zero(seconds):
    result = CliRunner().invoke(measuring, ["--seconds", seconds])
    assert result.exit_code == 2 and "Invalid value for '--seconds'" in result.output


def test_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "file").touch()
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "a.json", "is no folder")):
        result = CliRunner().invoke(measuring, ["--json", str(path)])
        assert result.exit_code == 1 and message in result.output and "measured" not in result.output
    assert CliRunner().invoke(measuring, ["--json", str(tmp_path / "new" / "a.json")]).output == "measured\n"


def test_every_benchmark_has_such_a_command():
    sources = {path.name: path.read_text() for path in pathlib.Path(benchmarks.__path__[0]).glob("*.py")}
    plain = {name for name, text in sources.items() if re.search(r"^@\w+\.command\((?!cls=Benchmark)", text, re.M)}
    assert not plain and sum("cls=Benchmark" in text for text in sources.values()) > 20


def test_first_word_names_a_case_or_a_benchmark_of_its_own():
    """`python -m benchmarks scale` is `python -m benchmarks.scale`; a module without a command is none."""
    from benchmarks import scale

    assert command_of("scale") is scale.main
    assert [command_of(name) for name in ("training", "", "__main__", "timing", "absent", "../setup")] == [None] * 6
