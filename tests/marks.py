"""Which cases of a test run each time, and which with `make test-slow`."""

import pytest


def slow_but(values, *fast):
    """The values of a parametrized test: those that are not in `fast` are marked slow."""
    assert all(value in values for value in fast)
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]
