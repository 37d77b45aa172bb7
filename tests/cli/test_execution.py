"""`--steps-per-execution`, `--data-on-device` and `--evaluate-train`."""

import pytest

from tests.cli.entry import status_of


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--steps-per-execution", "often"), "--steps-per-execution must be auto or a whole number of 1 or more"),
        (("--evaluate-train", "some"), "--evaluate-train must be all, or a number of images above 0. Received 'some'"),
        (("--data-on-device", "perhaps"), "'perhaps' is not one of 'auto', 'yes', 'no'"),
    ],
)
def test_wrong_execution_is_told_before_anything_is_written(flags, message, tmp_path, monkeypatch, capsys):
    assert status_of(("train", *flags, "--workdir", tmp_path / "run"), monkeypatch) != 0
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told
    assert not (tmp_path / "run").exists()
