"""`--json`: alone on standard output, or in a file; what stands behind it stays an argument."""

import json

import pytest
import rich_click as click
from click.testing import CliRunner

from dirac_keras.cli.speech.json_option import emit, json_option, separate_flag
from dirac_keras.errors import UserError


def make(with_overwrite=False):
    @click.command()
    @click.argument("model")
    @json_option("Print JSON.")
    def plain(model, as_json):
        emit(as_json, {"model": model, "loss": float("nan"), "rows": [1.5, float("inf")]})

    @click.command()
    @click.argument("model")
    @click.option("--overwrite", is_flag=True)
    @json_option("Print JSON.")
    def replacing(model, overwrite, as_json):
        emit(as_json, {"model": model})

    return replacing if with_overwrite else plain


def call(command, *arguments):
    result = CliRunner().invoke(command, separate_flag(list(map(str, arguments)), command), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    "arguments", [("run", "--json"), ("--json", "run"), ("--json", "-", "run"), ("--json=-", "run")]
)
def test_what_stands_behind_the_flag_stays_an_argument_and_no_number_is_left_that_json_has_not(arguments):
    assert json.loads(call(make(), *arguments), parse_constant=pytest.fail) == {
        "model": "run", "loss": None, "rows": [1.5, None],
    }  # fmt: skip


@pytest.mark.parametrize("order", ["behind", "before"])
def test_a_file_is_written_and_said(order, tmp_path):
    path = tmp_path / "new" / "figures.json"
    arguments = ("run", "--json", path) if order == "behind" else ("--json", path, "run")
    assert "written:" in call(make(), *arguments)
    assert json.loads(path.read_text())["model"] == "run"


def test_without_the_flag_nothing_is_printed():
    assert call(make(), "run") == ""


def test_a_file_that_is_there_is_kept_but_where_it_may_be_replaced(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"`as_json`: .* exists\. Give another file\.$"):
        call(make(), "run", "--json", path)
    with pytest.raises(UserError, match="another file, or `overwrite=True` to replace it"):
        call(make(with_overwrite=True), "run", "--json", path)
    assert path.read_text() == "mine"
    call(make(with_overwrite=True), "run", "--overwrite", "--json", path)
    assert json.loads(path.read_text()) == {"model": "run"}


def test_another_kind_of_file_is_refused():
    with pytest.raises(click.BadParameter, match=r"ends in \.json"):
        call(make(), "run", "--json=figures.txt")
