"""Averaged weights in a run that was interrupted within an epoch, on each backend."""

import keras
import numpy as np
import pytest

from tests.run_checks import KillAfter, Killed, run


@pytest.mark.slow
def test_resumed_run_has_the_weights_and_the_average_of_the_uninterrupted_one(tmp_path):
    whole = run(tmp_path / "whole", ema_momentum=0.9)
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], checkpoint_steps=4, ema_momentum=0.9)
    resumed = run(tmp_path / "run", checkpoint_steps=4, ema_momentum=0.9)
    assert len(resumed.history) == len(whole.history)
    for row, other in zip(resumed.history, whole.history, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)  # of the weights, which are not the average's
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)
    for mine, theirs in zip(resumed.model.variables, whole.model.variables, strict=True):
        mine, theirs = (keras.ops.convert_to_numpy(variable) for variable in (mine, theirs))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)  # JAX sums in another order when compiled anew
