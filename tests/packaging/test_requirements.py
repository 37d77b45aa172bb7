"""The three places that name what an installation needs agree: setup.cfg, requirements.txt and requirements-jax.txt."""

import configparser
import pathlib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[2]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
EXTRAS = SETUP["options.extras_require"]


def requirements(text):
    """`[Requirement, ...]` of lines with comments."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(name):
    """`{(package, marker): version}` of a file that pins."""
    found = {}
    for requirement in requirements((ROOT / name).read_text(encoding="utf-8")):
        [pin] = requirement.specifier
        assert pin.operator == "==", requirement
        found[canonicalize_name(requirement.name), str(requirement.marker)] = pin.version
    return found


def ranges(text):
    return {canonicalize_name(requirement.name): requirement for requirement in requirements(text)}


def test_pins_without_tensorflow_are_those_of_all():
    everything, jax = pins("requirements.txt"), pins("requirements-jax.txt")
    assert {key: everything.get(key) for key in jax} == jax
    assert "tensorflow" not in {name for name, _ in jax}


@pytest.mark.parametrize("extra", ["install_requires", "tune", "jax"])
def test_an_installation_without_tensorflow_has_all_that_its_commands_need(extra):
    text = SETUP["options"][extra] if extra == "install_requires" else EXTRAS[extra]
    installed = {name for name, _ in pins("requirements-jax.txt")}
    assert set(ranges(text)) - installed == ({"tensorflow"} if extra == "install_requires" else set())


@pytest.mark.parametrize("extra", ["install_requires", "data", "tune", "jax", "test"])
def test_pins_are_within_the_ranges_that_a_user_gets(extra):
    text = SETUP["options"][extra] if extra == "install_requires" else EXTRAS[extra]
    pinned = pins("requirements.txt")
    for name, requirement in ranges(text).items():
        versions = [version for (package, _), version in pinned.items() if package == name]
        assert versions, f"requirements.txt lacks {name}"
        assert all(requirement.specifier.contains(version) for version in versions), (requirement, versions)


def test_extra_all_takes_every_extra_but_the_tests():
    [everything] = requirements(EXTRAS["all"])
    assert everything.name == SETUP["metadata"]["name"]
    assert everything.extras == set(EXTRAS) - {"all", "test"}
