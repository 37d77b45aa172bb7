"""Tests that a run of CI has no time for are left out aloud."""

import re

pytest_plugins = ["pytester"]


def test_what_has_not_begun_in_time_is_counted(pytester):
    pytester.makeconftest('pytest_plugins = ["tests.time_limit"]')
    pytester.makepyfile(test_one="def test_a(): pass\ndef test_b(): pass", test_two="def test_c(): pass")
    result = pytester.runpytest("--minutes", "0")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["LEFT OUT: 3 tests had not begun after 0 minutes, of test_one.py, test_two.py"])
    result = pytester.runpytest("--minutes", "5")
    result.assert_outcomes(passed=3)
    assert not re.search("LEFT OUT", result.stdout.str())
    pytester.runpytest().assert_outcomes(passed=3)
