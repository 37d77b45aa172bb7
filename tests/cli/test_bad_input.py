"""Command lines that are wrong in one option, damaged files of a run: `benchmarks.campaigns`, or a part of it."""

import random

import pytest

from benchmarks import campaigns


def told_badly(rows):
    return [(case[-200:], outcome) for case, outcome, _ in rows if outcome]


def test_bad_command_lines_are_told_in_one_message_and_leave_nothing(tmp_path):
    rows = campaigns.try_command_lines(tmp_path, 80, random.Random(0))
    assert len(rows) == 80 and told_badly(rows) == []


@pytest.mark.slow
def test_all_bad_command_lines_are_told_in_one_message_and_leave_nothing(tmp_path):
    rows = campaigns.try_command_lines(tmp_path)
    assert len(rows) > 600 and told_badly(rows) == []


@pytest.mark.slow
def test_damaged_files_of_a_run_are_refused_or_repaired(tmp_path):
    rows = campaigns.try_damaged_files(tmp_path, 200, random.Random(0))
    assert len(rows) == 200 and told_badly(rows) == []
    assert {ended.status for _, _, ended in rows} == {0, 1}


@pytest.mark.slow
def test_flipped_bits_of_zip_headers_give_the_weights_or_an_error(tmp_path):
    rows = campaigns.try_header_bits(tmp_path, 200, random.Random(0))
    assert len(rows) == 200 and told_badly(rows) == []
