"""Event files say what was written, by the words of TensorBoard's own reader; TensorFlow is not asked for."""

import io
import subprocess
import sys

import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files import event_files
from dirac_keras.files.event_files import EventWriter

pytest.importorskip("tensorboard")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def values(event):
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(event.tensor_proto)


def test_a_scalar_keeps_its_value_and_its_step(tmp_path):
    with EventWriter(tmp_path) as writer:
        for step, value in ((3, 1.5), (4, np.float32(0.25))):
            writer.scalar("loss", value, step)
    events = read(tmp_path)
    assert [(event.step, values(event).item()) for event in events.Tensors("loss")] == [(3, 1.5), (4, 0.25)]
    assert events.summary_metadata["loss"].plugin_data.plugin_name == "scalars"


def test_a_histogram_counts_the_values_between_its_edges(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.histogram("means", np.array([0.0, 1.0, 1.0, 3.0]), 1)
    events = read(tmp_path)
    [event] = events.Tensors("means")
    left, right, counts = values(event).T  # 30 intervals of 0.1 from 0 to 3
    assert events.summary_metadata["means"].plugin_data.plugin_name == "histograms"
    assert {round(a, 3): count for a, count in zip(left, counts, strict=True) if count} == {0.0: 1, 1.0: 2, 2.9: 1}
    assert right[-1] == 3.0


def test_a_picture_is_its_png_file_with_width_and_height(tmp_path):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (5, 7), (10, 20, 30)).save(file, "png")
    with EventWriter(tmp_path) as writer:
        writer.picture("curves", file.getvalue(), 2)
    events = read(tmp_path)
    [event] = events.Tensors("curves")
    assert list(values(event)) == [b"5", b"7", file.getvalue()] and event.step == 2
    assert events.summary_metadata["curves"].plugin_data.plugin_name == "images"


def test_two_writers_of_one_folder_have_files_of_their_own(tmp_path):
    with EventWriter(tmp_path) as one, EventWriter(tmp_path) as other:
        one.scalar("loss", 1.0, 1)
        other.scalar("loss", 2.0, 2)
    assert len(list(tmp_path.iterdir())) == 2
    assert [event.step for event in read(tmp_path).Tensors("loss")] == [1, 2]


def test_what_the_system_refuses_names_the_folder_and_the_reason(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/tb cannot be written: Not a directory"):
        EventWriter(tmp_path / "file" / "tb")
    monkeypatch.setattr(event_files, "_open", lambda folder, name: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(UserError, match=r"path: somewhere cannot be written: No space left on device"):
        EventWriter("somewhere")


def test_tensorflow_is_not_imported(tmp_path):
    code = (
        "import sys; from dirac_keras.files.event_files import EventWriter\n"
        f"with EventWriter({str(tmp_path)!r}) as writer: writer.scalar('loss', 1.0, 1)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
