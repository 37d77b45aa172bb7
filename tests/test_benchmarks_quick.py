"""`benchmarks.quick`: every row has the same time, is measured in turn, and ends its schedule with its time."""

import pytest
from click.testing import CliRunner

from benchmarks import quick

ARGUMENTS = ["--network=van-18", "--network=conv50", "--seconds=10", "--points=2", "--seeds=2", "--width=0.5"]


def run(*arguments):
    return CliRunner().invoke(quick.main, [*ARGUMENTS, *arguments], catch_exceptions=False)


def test_slower_step_gets_fewer_steps_and_nothing_is_repeated(tmp_path, monkeypatch):
    timed, trained = [], []

    def seconds_of_a_step(network, change, common, clock):
        timed.append((network, "width" in common))
        disturbed = 0.3 if len(timed) % 6 == 1 else 0.0  # the first round of a network, its first row
        return (0.5 if change.fields else 0.25) + disturbed

    def train_row(network, change, common, seed, steps, points, clock):
        trained.append(steps)
        return {"accuracies": [10.0, 20.0 + seed], "seconds": [5.0, 10.0], "steps": steps}

    monkeypatch.setattr(quick, "seconds_of_a_step", seconds_of_a_step)
    monkeypatch.setattr(quick, "train_row", train_row)
    monkeypatch.setattr(quick.keras.backend, "clear_session", lambda: None)  # takes seconds the first time
    path = f"--json={tmp_path / 'quick.json'}"
    first = run(path)
    # conv50 has no width; steps are timed in three rounds for all seeds, and the least value counts
    assert timed == [("van-18", True)] * 6 + [("conv50", False)] * 6
    assert trained == [40, 20] * 4
    lines = first.output.splitlines()
    assert "| network | change | ms a step | steps | seconds | after 5 s, % | after 10 s, % | seeds |" in lines
    assert "| van-18 | quick | 250 | 40 | 10.0 | 10.0 (10.0-10.0) | 20.5 (20.0-21.0) | 2 |" in lines
    assert "| conv50 | Muon | 500 | 20 | 10.0 | 10.0 (10.0-10.0) | 20.5 (20.0-21.0) | 2 |" in lines
    assert run(path).output == first.output and len(trained) == 8 and len(timed) == 12
    other = run(path, "--points=3")
    assert other.exit_code == 2 and "holds runs with" in other.output


@pytest.mark.slow
def test_row_is_trained_for_its_time(tmp_path):
    """The schedule has so many steps, and the tests are not part of the time."""
    common = {"data": "digits", "max_train": 128, "max_test": 64, "width": 0.1, "precision": "float32"}
    change, clock = quick.ADDED["Muon"], quick.CLOCKS["wall"]
    step = quick.seconds_of_a_step("diracnet-28-1", change, common, clock)
    found = quick.train_row("diracnet-28-1", change, common, 0, 7, 2, clock)
    assert found["steps"] == 6 and len(found["accuracies"]) == len(found["seconds"]) == 2
    assert 0 < found["seconds"][0] < found["seconds"][1] and step > 0
