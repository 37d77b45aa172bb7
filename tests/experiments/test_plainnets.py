"""What the entries of the PlainNets paper show beside their runs."""

import numpy as np
import pytest

from dirac_keras.experiments import full_runs
from dirac_keras.experiments.plainnets import EXPERIMENTS
from dirac_keras.experiments.plainnets.sensitivity import hidden_responses, prescribed, sensitivity


@pytest.mark.parametrize("kappa", [1.0, 1e3])
def test_solution_moves_by_the_condition_number_and_no_more(kappa):
    """Eq. 10 with |dX| / |X| = 1e-6; it is of first order, so it may be passed by kappa 1e-6 of itself."""
    rng = np.random.default_rng(0)
    found = sensitivity(rng.normal(size=(20, 50)), prescribed(kappa, rng), 1e-6, rng)
    assert found.condition_number == pytest.approx(kappa, rel=1e-9)
    assert found.bound == pytest.approx(kappa * 1e-6, rel=1e-9)
    assert found.worst == pytest.approx(found.bound, rel=3 * kappa * 1e-6)
    assert 0 < found.random < found.bound


def test_condition_number_of_dependent_units_is_infinite():
    """The second unit responds as the first."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4, 30))
    inputs[1] = inputs[0]
    assert sensitivity(rng.normal(size=(3, 4)), inputs, 1e-6, rng).condition_number == np.inf


def test_naive_networks_become_singular_with_depth_and_proposed_ones_do_not():
    images = np.random.default_rng(0).normal(size=(80, 4, 4, 1))
    found = {name: hidden_responses(name, images, layers=(1, 16), depth=16, units=16) for name in ("naive", "proposed")}
    assert found["naive"][0].shape == (16, 80) and found["naive"][0].dtype == np.float64
    kappa = {name: [np.linalg.cond(one) for one in responses] for name, responses in found.items()}
    assert kappa["naive"][1] > 1e3 * kappa["naive"][0] and kappa["proposed"][1] < 1e3


def test_batchnorm_of_the_demonstration_has_the_statistics_of_its_images():
    """Behind LeakyReLU(0.3) of N(0, 1) the mean is 0.7 / sqrt(2 pi) = 0.279."""
    images = np.random.default_rng(0).normal(size=(400, 4, 4, 1))
    responses = hidden_responses("proposed", images, layers=(2,), depth=2, units=64)[0]
    assert responses.mean() == pytest.approx(0.279, abs=0.02)


def test_full_runs_have_the_papers_epochs():
    """Section VI: 300 epochs for the dense networks, 400 for the 50 convolutions."""
    for entry in EXPERIMENTS.values():
        for run in full_runs(entry):
            assert run.config().epochs == (400 if run.fields["layout"] == "conv50" else 300), run.name


def test_table_of_parameters_is_counted(tmp_path):
    lines = EXPERIMENTS["table1"].report(EXPERIMENTS["table1"], [], tmp_path)
    assert "| 3 | 0.50 M | 0.50 M |" in lines and "| 20 | 2.04 M | 2.04 M |" in lines
    lines = EXPERIMENTS["tableA1"].report(EXPERIMENTS["tableA1"], [], tmp_path)
    assert "| conv49 | 96 | 3x3 | 7x7 |" in lines and lines[-1] == "parameters: 0.72 M, paper 0.72 M"
