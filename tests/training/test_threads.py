"""A resumed run computes in the threads it began with, or says that it does not."""

import json
import logging
import os
import subprocess
import sys

import pytest

from dirac_keras.training.stepping import threads
from tests.run_checks import KillAfter, Killed, run


@pytest.mark.slow
def test_run_records_its_threads_and_says_when_they_are_others(tmp_path, caplog, monkeypatch):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], checkpoint_steps=3)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["threads"]
    assert recorded == threads.threads_in_effect()
    monkeypatch.setattr(threads, "cores", lambda: recorded["intra_op"] + 3)
    monkeypatch.setattr(threads, "_of_environment", lambda: 0)
    with caplog.at_level(logging.WARNING, "dirac_keras"), pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(7)], checkpoint_steps=3)
    assert f"the run began with {recorded['intra_op']} threads for an operation, here it has" in caplog.text


@pytest.mark.slow
def test_threads_of_the_run_are_taken_where_tensorflow_has_not_begun():
    script = """
import tensorflow as tf
from dirac_keras.training.stepping.threads import restore_threads, threads_in_effect
restore_threads({"intra_op": 7})
assert tf.config.threading.get_intra_op_parallelism_threads() == 7
assert threads_in_effect() == {"intra_op": 7}
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr


def test_run_of_an_earlier_version_has_no_threads_to_take(caplog):
    threads.restore_threads(None)
    assert caplog.text == ""
