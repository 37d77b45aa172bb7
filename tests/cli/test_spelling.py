"""Arguments in a message of the library become options of the command that ran."""

import shlex

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dirac_keras.cli.group import LazyGroup
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import RunError, UserError, renaming


@click.command()
@click.argument("model")
@click.option("--workdir")
@click.option("--batch-size", type=int)
@click.option("--width", type=float)
@click.option("--overwrite", is_flag=True)
@click.option("--export/--no-export", "with_export", default=True)
@click.option("-o", "--on-broken", type=click.Choice(["fail", "skip"]))
@click.option("--format", "format_name")
@click.option("--only", multiple=True)
@click.option("--workers")
def command(**values):
    return values


def parsed(words):
    """What the command's function would be given."""
    return command.make_context("command", [*words, "m.keras"]).params


@pytest.mark.parametrize(
    ("message", "spelled"),
    [
        ("give another `workdir`, or `overwrite=True`", "give another --workdir, or --overwrite"),
        ("leave it out with `with_export=False`", "leave it out with --no-export"),
        ("leave it out with `export=False`", "leave it out with --no-export"),
        ("`with_export=True` does", "--export does"),
        ('skip them: `on_broken="skip"`', "skip them: --on-broken skip"),
        ("`on_broken='skip'`", "--on-broken skip"),
        ("`batch_size=64` fits", "--batch-size 64 fits"),
        ("`format`", "--format"),
        ('`workers=["a:1", "b:2"]`', "--workers a:1,b:2"),
        ('`only=["table2", "fig1"]`', "--only table2 --only fig1"),
        ("`workdir=FOLDER`", "--workdir FOLDER"),
        ('`workdir="my runs"`', "--workdir 'my runs'"),
        ("workdir must be a folder. Received workdir=3.", "workdir must be a folder. Received workdir=3."),
        ("`depth` is none of them", "depth is none of them"),
        ("`model` is an argument", "model is an argument"),
        ("`overwrite=False` has no flag", "overwrite=False has no flag"),
        ("`overwrite='yes'` is no flag's", "overwrite='yes' is no flag's"),
        ("`workdir=True` is no text", "workdir=True is no text"),
        ("`workers=None`", "workers=None"),
        ("`split_cpu(2)` first of all", "split_cpu(2) first of all"),
        ("a lone ` stays", "a lone ` stays"),
        ("`` too", "`` too"),
    ],
)
def test_argument_is_spelled_as_the_option(message, spelled):
    assert spell_options(message, command) == spelled


def test_without_a_command_backquotes_alone_go():
    assert spell_options("give `workdir`", None) == "give workdir"


NAMES = sorted({name for option in command.params[1:] for name in (option.name,)})
plain = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1)


@given(plain, plain)
def test_text_outside_of_backquotes_stays(before, after):
    assert spell_options(f"{before}`workdir`{after}", command) == f"{before}--workdir{after}"
    assert spell_options(before, command) == before


@given(plain.filter(lambda text: text.split("=")[0].strip() not in {*NAMES, "export", "format"}))
def test_what_is_no_option_loses_nothing_but_its_backquotes(text):
    assert spell_options(f"a `{text}` b", command) == f"a {text} b"


def spelled_words(argument):
    return shlex.split(spell_options(f"`{argument}`", command))


text_values = st.text(st.characters(exclude_characters="`", exclude_categories=["Cs", "Cc"]))


@given(text_values)
@example("--overwrite")
@example("it's")
@example("")
def test_spelled_text_is_what_the_argument_said(value):
    if "`" not in repr(value):
        assert parsed(spelled_words(f"workdir={value!r}"))["workdir"] == value


@given(st.integers(-(10**9), 10**9), st.floats(allow_nan=False))
def test_spelled_number_is_what_the_argument_said(count, width):
    assert parsed(spelled_words(f"batch_size={count}"))["batch_size"] == count
    if width not in (float("inf"), float("-inf")):  # no literal of Python's
        assert parsed(spelled_words(f"width={width!r}"))["width"] == width


@given(st.booleans())
def test_spelled_switch_is_what_the_argument_said(value):
    assert parsed(spelled_words(f"with_export={value}"))["with_export"] is value


@given(st.lists(text_values, min_size=1))
def test_spelled_list_is_what_the_argument_said(values):
    assert parsed(spelled_words(f"only={values!r}"))["only"] == tuple(values)


@pytest.fixture(scope="module")
def train():
    from dirac_keras.cli import commands

    assert isinstance(commands, LazyGroup)
    return commands.load("train")


def test_fields_of_the_config_are_options_of_train(train):
    import dataclasses

    from dirac_keras.training.config import TrainConfig

    for field in dataclasses.fields(TrainConfig):
        assert spell_options(f"`{field.name}`", train) == f"--{field.name.replace('_', '-')}"


def test_switch_of_the_config_is_spelled_off(train):
    assert spell_options("`skips=False`", train) == "--no-skips"


def test_errors_of_the_library_name_the_commands_argument():
    said = r"^output: x/path exists; give another `output`, or `overwrite=True`"
    with pytest.raises(UserError, match=said), renaming(path="output"):
        raise UserError("path: x/path exists; give another `path`, or `overwrite=True` to replace it.")
    with pytest.raises(RunError, match="path: kept"), renaming(path="output"):
        raise RunError("path: kept as it is")
    with pytest.raises(UserError, match=r"^`labels` are five; leave `labels` out"), renaming(names="`labels`"):
        raise UserError("names are five; leave `names` out")


def test_a_field_of_a_record_is_an_option():
    from dirac_keras.cli import commands

    command = commands.load("plainify")
    assert spell_options("alone: `Teaching(teacher=False)`.", command) == "alone: --no-teacher."
    assert spell_options("earlier: `Teaching(end=0.25)`", command) == "earlier: --end 0.25"
    assert spell_options("`Other(nothing=1)`", command) == "Other(nothing=1)"
