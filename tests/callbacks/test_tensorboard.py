import logging
import sys

from dirac_keras.callbacks.tensorboard import TensorBoardScalars


def test_without_the_package_one_line_says_that_no_events_are_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # importing it raises ImportError
    callback = TensorBoardScalars(tmp_path / "tb")
    with caplog.at_level(logging.INFO, "dirac_keras"):
        callback.on_train_begin()
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
        callback.write_picture("curves", tmp_path / "absent.png", 1)
        callback.close()
    [message] = caplog.messages
    assert str(tmp_path / "tb") in message and "the package tensorboard, which writes it, is not installed" in message
    assert not list(tmp_path.iterdir())


def test_picture_of_a_run_that_is_written_is_among_the_events(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "curves.png")
    callback = TensorBoardScalars(tmp_path / "tb")
    callback.on_train_begin()
    callback.write_picture("curves", tmp_path / "curves.png", 1)
    callback.close()
    [events] = (tmp_path / "tb" / "train").iterdir()
    assert (tmp_path / "curves.png").read_bytes() in events.read_bytes()
