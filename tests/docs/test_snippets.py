"""What README and docs/ tell a reader to type or to open: it runs, and it is there."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from dirac_keras.cli.shell.completion_table import COMMANDS

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def snippets(page, language):
    """Texts of the fenced blocks of a page in one language; "" is a block that names none."""
    return [text for named, text in FENCE.findall(page.read_text()) if named == language]


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def commands(page):
    """The `dirac-keras` command lines of a page's blocks, as lists of words; continued lines are joined."""
    text = "\n".join(snippets(page, "")).replace("\\\n", " ")
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in text.splitlines() if "dirac-keras" in line]
    return [line[1 : (*line, "|").index("|")] for line in words if line[:1] == ["dirac-keras"]]  # up to a pipe


def command_of(name):
    """The `click.Command` of that name, which the group imports when it is loaded."""
    from dirac_keras.cli import commands as group

    assert name in group.where, f"dirac-keras has no command {name}"
    return group.load(name)


def anchors(page):
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def page_id(page):
    return str(page.relative_to(ROOT))


def test_readme_snippet_runs_as_it_stands(tmp_path):
    """In a process of its own and an empty folder, as a new user would; it prints the report that README shows."""
    (snippet,) = snippets(README, "python")
    ran = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    (shown,) = [text for text in snippets(README, "") if text.startswith("folded ")]
    for line in shown.splitlines():
        # The differences are rounding errors, of another size in every training.
        if line.strip() != "..." and "difference" not in line:
            assert line in ran.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["your-own-model.md", "getting-started.md"])
def test_first_snippet_of_a_page_runs(name, tmp_path):
    """The later ones of your-own-model.md continue a program of the reader's."""
    snippet = snippets(ROOT / "docs" / name, "python")[0]
    ran = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_snippets_compile(page):
    for text in snippets(page, "python"):
        compile(text, page_id(page), "exec")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=page_id)
def test_relative_links_and_pictures_are_there(page):
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page_id(page)} links {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page_id(page)} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_have_the_options_that_are_shown(page):
    for name, *words in commands(page):
        if name.startswith("-"):
            continue  # an option of `dirac-keras` itself
        command = command_of(name)
        if hasattr(command, "where") and words:  # a group, as `data`, has the options with its commands
            name = words[0] if words[0] in command.where else next(iter(command.where))  # `runs DIR`: its first command
            command, words = command.load(name), words[words[0] == name :]
        known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        given = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z].*", word)}
        assert given <= known, f"dirac-keras {name} does not know {sorted(given - known)}"


def all_options(commands):
    """`(name of a command, spellings of an option of it)` of the completion table, groups opened."""
    for name, command in commands.items():
        for spellings, *_ in command.get("options", ()):
            yield name, tuple(spellings)
        for inner, spellings in all_options(command.get("commands", {})):
            yield f"{name} {inner}", spellings


def test_every_option_is_on_a_page():
    """As it is typed, or as the field that it is; a help text alone is found by who knows what to look for."""
    text = "\n".join(page.read_text() for page in PAGES)
    said = set(re.findall(r"--[a-z0-9-]+", text)) | set(re.findall(r"\w+", " ".join(re.findall("`[^`\n]+`", text))))
    absent = [
        f"{name} {spellings[0]}"
        for name, spellings in all_options(COMMANDS)
        if said.isdisjoint([*spellings, *(one.removeprefix("--").replace("-", "_") for one in spellings)])
    ]
    assert not absent


def test_readme_commands_parse():
    """Every value has the type that its option takes, every argument is there."""
    shown = commands(README)
    assert len(shown) == 8
    for name, *words in shown:
        command_of(name).make_context(name, list(words))


def test_architecture_names_every_package_and_module():
    """The tree is written by hand, and would go stale without a word."""
    tree = (ROOT / "docs" / "architecture.md").read_text()
    for path in (*(ROOT / "dirac_keras").iterdir(), *(ROOT / "pipelines").iterdir(), *(ROOT / "tuning").iterdir()):
        if (path / "__init__.py").exists():
            assert f"  {path.name}/ " in tree, path
        elif path.parent.name == "dirac_keras" and path.suffix == ".py" and path.name != "__init__.py":
            assert f"  {path.name} " in tree, path


def test_every_page_is_in_the_navigation():
    """mkdocs would only say so when the site is built."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES[1:]:
        assert str(page.relative_to(ROOT / "docs")) in navigation, page_id(page)


def test_every_page_is_linked_from_the_index():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(prose(index))}
    for page in (ROOT / "docs").glob("*.md"):
        assert page in linked or page == index, page_id(page)
