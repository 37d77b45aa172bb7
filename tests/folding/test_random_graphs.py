"""Any graph of layers and operations folds to the same outputs, and into a model that one can go on with."""

import warnings

import keras
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.folding.graphs.build import build, from_seed
from tests.folding.graphs.check import check
from tests.folding.graphs.choices import DrawnChoices


@pytest.fixture(autouse=True)
def _no_warnings():
    """Keras warns of masks that are lost, of names and of NumPy: all that random graphs have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_ok(graph, with_export=False):
    outcome = check(graph, with_export)
    assert outcome.failures == {}, outcome.failures


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,  # the same graphs each time; `python -m tests.folding.graphs` looks for others
    phases=[Phase.generate],  # making what failed smaller takes minutes; do so by hand, with `Phase.shrink`
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_any_graph_folds_and_the_folded_model_saves_loads_clones_and_folds_again(data):
    assert_ok(build(DrawnChoices(data.draw)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(75))
def test_graph_of_a_seed_is_right(seed):
    keras.backend.clear_session()
    assert_ok(from_seed(seed), with_export=seed % 10 == 0)
