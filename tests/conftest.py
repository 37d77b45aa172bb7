"""Shared set-up: a fixed seed and the global dtype policy restored around every test."""

import os
import pathlib
import socket

import pytest

from dirac_keras.files.stderr import quiet_stderr
from dirac_keras.onednn import prefer_onednn

pytest_plugins = ["tests.time_limit"]
# In the processes that tests start too, where setup.cfg's filters do not reach.
os.environ["PYTHONWARNINGS"] = ",".join(f"error::{kind}" for kind in ("UserWarning", "FutureWarning", "RuntimeWarning"))

prefer_onednn()  # as the command does
with quiet_stderr():  # TensorFlow's notices on oneDNN and CUDA are no part of a test's log
    import keras


@pytest.fixture(autouse=True)
def _fixed_seed():
    keras.utils.set_random_seed(1234)
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def data_dir():
    """Folder of tensorflow-datasets' prepared data sets."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


@pytest.fixture
def no_network(monkeypatch):
    """Any connection fails the test."""

    def refuse(*arguments, **options):
        raise AssertionError(f"a connection was tried: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
