"""The page on deployment, followed from its first command to its last snippet."""

import pytest

from tests.cli.entry import status_of
from tests.docs.test_snippets import ROOT, commands, snippets

PAGE = ROOT / "docs" / "deployment.md"
SMALLER = ["--depth", "10", "--width", "0.25", "--epochs", "4", "--no-export"]  # of the last option of a name


@pytest.mark.slow
def test_page_can_be_followed_as_it_stands(tmp_path, monkeypatch, capsys):
    """The network alone is a smaller one than the page's."""
    for package in ("onnxruntime", "tf2onnx", "ai_edge_litert", "litert_quantizer", "openvino"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for words in commands(PAGE):
        status = status_of([*words, *(SMALLER if words[0] == "train" else ())], monkeypatch)
        assert status == 0, (words, capsys.readouterr().err)
    for number, snippet in enumerate(snippets(PAGE, "python")):
        exec(compile(snippet, f"snippet {number} of {PAGE.name}", "exec"), {})
    printed = capsys.readouterr().out
    assert "litert int8 digits-from-python.tflite" in printed and "* " in printed  # the report, with what was tried
    written = {path.name for path in tmp_path.iterdir()}
    assert {"digits.onnx", "digits.onnx.md", "digits.tflite", "digits.xml", "digits.bin", "digits.json"} <= written
