import keras
import pytest

from dirac_keras.distribution import open_strategy
from dirac_keras.errors import UserError

jax = pytest.importorskip("jax")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's devices")
@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")])
@pytest.mark.parametrize("strategy", ["auto", "one"])
def test_accelerator_that_is_asked_for_and_absent_is_named(strategy, error, monkeypatch):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match=r"JAX_PLATFORMS=cuda \(.+\)\. Install jax\[cuda13\]"):
        open_strategy(strategy)
