"""Runs of either momentum rule: resumed exactly, and those of before there were two."""

import json

import pytest

from dirac_keras.files.records import CHECKSUM, sealed
from dirac_keras.training.folder.directory import RunDirectory
from tests.run_checks import CONFIG, STEPS, KillAfter, Killed, assert_same_run, run

# The rate falls behind step 4 of 16; a run that is killed in step 7 begins again behind step 6.
FALLS = {**CONFIG, "depth": 1, "schedule": "step", "decay_epochs": (0.5,), "decay_factor": 0.2}
FALLS |= {"checkpoint_steps": 3, "max_test": 32, "momentum_rule": "pytorch"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "run", **FALLS)


@pytest.mark.slow
def test_run_resumed_behind_a_fall_of_the_rate_is_the_uninterrupted_one(whole, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", **FALLS, callbacks=[KillAfter(7)])  # the state of step 6 is saved
    assert not (tmp_path / "run" / "model.keras").exists() and STEPS > 7
    assert_same_run(run(tmp_path / "run", **FALLS), whole)


@pytest.mark.slow
def test_run_of_before_there_were_two_is_refused_with_the_rule_and_resumes_with_kerass(tmp_path):
    """Its velocities have the rates in them, so PyTorch's rule cannot take them over."""
    keras_rule = FALLS | {"momentum_rule": "keras"}
    with pytest.raises(Killed):
        run(tmp_path / "run", **keras_rule, callbacks=[KillAfter(7)])
    config = RunDirectory(tmp_path / "run").config
    record = json.loads(config.read_text())
    config.write_text(json.dumps(sealed({k: v for k, v in record.items() if k not in (CHECKSUM, "momentum_rule")})))
    with pytest.raises(ValueError, match=r"another run \(momentum_rule='keras' there, 'pytorch' here\)"):
        run(tmp_path / "run", **FALLS)
    assert run(tmp_path / "run", **keras_rule).run.is_finished()
