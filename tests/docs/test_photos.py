"""The page that leads from a folder of photos to a served model: every line of it, in its order."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from pipelines import DataError, load_splits
from tests.docs.test_snippets import ROOT, snippets

PAGE = ROOT / "docs" / "photos.md"
PHOTOS = "photos/test/*/090.jpg"


def ran(line, folder):
    """What a line of the page says; one epoch does where it takes eight."""
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.run(
        line.replace("--epochs 8", "--epochs 1"), shell=True, cwd=folder, capture_output=True, text=True, timeout=900,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert process.returncode == 0, f"{line}\n{process.stdout[-1000:]}\n{process.stderr[-2000:]}"
    return process.stdout


@pytest.mark.data
@pytest.mark.slow
def test_a_folder_of_photos_is_checked_learned_explained_and_served(tmp_path):
    pytest.importorskip("onnxruntime")
    try:
        load_splits("cifar10", max_train=8, max_test=8)
    except DataError as error:
        pytest.skip(str(error))
    serve, make = (f"{text}\n" for text in snippets(PAGE, "python"))
    (lines,) = [text.replace("\\\n", "") for text in snippets(PAGE, "") if "dirac-keras" in text]
    (tmp_path / "make.py").write_text(make)
    (tmp_path / "serve.py").write_text(serve)
    ran("python make.py", tmp_path)
    assert len([path for path in (tmp_path / "photos").rglob("*") if path.is_file()]) == 554, "as the page says"
    commands = [line for line in lines.splitlines() if line.startswith("dirac-keras")]
    said = {line.split()[1]: ran(line, tmp_path) for line in commands}
    assert len(commands) == 10
    checked = json.loads((tmp_path / "check.json").read_text())
    assert "broken.jpg" in json.dumps(checked) and "copy of 001.png" in json.dumps(checked)
    judged = json.loads((tmp_path / "photos.json").read_text())
    assert judged["images"] == 126
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("seen.png", "curves.png", "why/index.html"))
    served = ran(f"python serve.py {PHOTOS}", tmp_path).splitlines()
    assert len(served) == 5 and all(".onnx" not in line for line in served)
    for line in served:
        path, rest = line.split(".jpg ", 1)
        assert rest.rsplit(" ", 1)[0] in said["predict"].split(f"{path}.jpg")[1], "the likeliest class is predict's too"
