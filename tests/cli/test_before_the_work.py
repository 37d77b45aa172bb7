"""What is seen to be wrong is told before a model is read: absent paths, places that nothing can be written to."""

import json

import keras
import pytest

from dirac_keras.cli.reading import Reading
from tests.cli.entry import runner_of

ABSENT = "does not exist"
NO_PLACE = "is no folder"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Commands in a folder with `net.keras`, `a.png` and `file`, where reading a model is an error of its own."""
    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]).save("net.keras")
    for name in ("a.png", "file"):
        (tmp_path / name).write_bytes(b"x")

    def refuse(*_, **__):
        raise AssertionError("the model was read")

    monkeypatch.setattr(Reading, "open", refuse)
    return lambda name, *arguments: runner_of(name, monkeypatch, capsys)(*arguments)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict net.keras b.png c.png", "b.png cannot be read: No such file"),
        ("explain net.keras b.png c.png", "c.png cannot be read: No such file"),
        ("predict net.keras .", ". cannot be read: Is a directory"),
        ("explain net.keras a.png --output file/x", f"output: file/x cannot be written: {{here}}/file {NO_PLACE}"),
        ("evaluate net.keras --data digits --compare b.keras", f"compare: b.keras {ABSENT}"),
        ("evaluate net.keras --data digits --compare b.onnx", f"compare: b.onnx {ABSENT}"),
        ("evaluate net.keras --data folder:gone", f"data: gone {ABSENT}"),
        ("evaluate net.keras --data digits --json file/x.json", NO_PLACE),
        ("evaluate net.keras --data digits --report file/x.html", NO_PLACE),
        ("diagnose net.keras --data digits --output file/x", NO_PLACE),
        ("diagnose net.keras --data csv:gone.csv", f"data: gone.csv {ABSENT}"),
        ("plainify net.keras --output file/x.keras", NO_PLACE),
        ("plainify net.keras --method retrain", "Give --data a name"),
        ("plainify net.keras --data folder:gone", f"data: gone {ABSENT}"),
        ("fold net.keras --output file/x.keras", NO_PLACE),
        ("export net.keras --format onnx --output file/x.onnx", NO_PLACE),
        ("export net.keras --format onnx --calibration gone.png", "Received gone.png, which is none of them"),
        ("export net.keras --format onnx --calibration b.png --calibration c.png", "b.png, c.png do not exist"),
        ("export net.keras --format onnx --calibration folder:gone", f"calibration: gone {ABSENT}"),
        ("prune net.keras --share 0.1 --data digits --output file/x.keras", NO_PLACE),
        ("prune net.keras --share 0.1 --data digits --epochs 1 --teacher b.keras", f"teacher: b.keras {ABSENT}"),
        ("benchmark b.keras c.onnx --data digits", "b.keras, c.onnx do not exist"),
        ("benchmark net.keras --data digits --output file/x", NO_PLACE),
        ("tune --data digits --start b.keras --workdir search", f"start: b.keras {ABSENT}"),
        ("find-lr --data digits --output file/x", NO_PLACE),
        ("data show digits --output file/x.png", NO_PLACE),
    ],
)
def test_what_is_absent_or_has_no_place_is_told_before_a_model_is_read(command, message, run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    name, *arguments = command.split()
    status, _, err = run(name, *arguments)
    assert status == 1 and "Traceback" not in err
    assert message.replace("{here}", str(tmp_path)) in " ".join(err.split())
    assert sorted(tmp_path.rglob("*")) == before  # and nothing is left behind


def test_all_absent_images_are_named_at_once_and_the_others_are_done(monkeypatch, capsys, tmp_path):
    """Also as JSON: the record of each absent image comes first."""
    import numpy as np
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]).save("net.keras")
    Image.fromarray(np.zeros((4, 4), "uint8")).save("a.png")
    command = runner_of("predict", monkeypatch, capsys)
    status, out, err = command("net.keras", "b.png", "a.png", "c.png", "--input", "unit", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and [one["image"] for one in records] == ["b.png", "c.png", "a.png"]
    assert "error" in records[0] and "classes" in records[2]
    assert "2 of 3 images could not be read" in err
