"""A data service that cannot prepare a training's batches is refused before anything is written or deleted."""

import socket

import pytest

from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits

FIELDS = {"data": "digits", "layout": "dense", "depth": 3, "units": 8, "epochs": 1, "batch_size": 16, "max_train": 64}


class OwnSplits:
    """Splits of somebody else's, which take no service."""

    def __init__(self, splits):
        self.spec, self.steps_per_epoch = splits.spec, splits.steps_per_epoch
        self.validation, self.test = splits.validation, splits.test


def refused(workdir, message, address="grpc://host:1", reader="tensorflow", of=lambda splits: splits, **options):
    pytest.importorskip("tensorflow")
    augmentation = options.pop("augmentation", "none")
    config = TrainConfig(**FIELDS, augmentation=augmentation)
    splits = load_splits("digits", batch_size=16, max_train=64, augmentation=augmentation, reader=reader)
    with pytest.raises(ValueError, match=message):
        train(config, of(splits), workdir, data_service=address, **options)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("TensorFlow's operations alone.*grpc://host:1", {"augmentation": "none+mixup"}),
        ("the reader without TensorFlow does not use.*grpc://host:1", {"reader": "numpy"}),
        ("data_service must be grpc://host:port.*'host:1'", {"address": "host:1"}),
        ("data_on_device=yes with data_service='grpc://host:1'", {"data_on_device": "yes"}),
        ("data_service takes what `pipelines` read.*OwnSplits", {"of": OwnSplits}),
    ],
)
def test_service_that_cannot_serve_writes_nothing(message, options, tmp_path):
    refused(tmp_path / "run", message, **options)
    assert not (tmp_path / "run").exists()


def test_service_that_is_not_there_costs_no_run_that_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"grpc://127.0.0.1:{free.getsockname()[1]}"
        refused(tmp_path, "cannot be reached", address=nobody, overwrite=True)
    assert (tmp_path / "config.json").read_text() == "{}"
