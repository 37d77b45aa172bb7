"""What the entries of the PlainNets paper show beside their runs."""

import keras
import numpy as np
import pytest

from dirac_keras.experiments import Run, full_runs
from dirac_keras.experiments.plainnets import EXPERIMENTS
from dirac_keras.experiments.plainnets.reports import distance_report, response_pictures, threshold_report
from dirac_keras.experiments.plainnets.sensitivity import hidden_responses, prescribed, sensitivity
from dirac_keras.files.keras_file import save_model
from dirac_keras.models import build_plainnet
from dirac_keras.training.building import untrained_model
from dirac_keras.training.folder.directory import RunDirectory
from pipelines import load_splits

FIELDS = {"data": "digits", "family": "plainnet", "layout": "dense", "depth": 3, "units": 8, "scenario": "naive"}


@pytest.fixture
def results(tmp_path):
    """A network whose first layer has twice the weights it started with, the second zeros and biases of 1."""
    run = Run("net", {**FIELDS, "max_train": 100, "max_test": 20, "precision": "float32"}, title="digits, naive")
    config, directory = run.config(), RunDirectory(tmp_path / "net")
    splits = load_splits(**config.data_arguments())
    directory.create(config, splits.spec.to_dict(), "float32")
    model = untrained_model(config, splits.spec, "float32")
    first, second = (model.get_layer(name) for name in ("dense1", "dense2"))
    first.kernel.assign(2 * first.kernel)
    second.kernel.assign(0 * second.kernel)
    second.bias.assign(0 * second.bias + 1)
    save_model(model, directory.model)
    return [(run, directory)]


def test_distance_from_the_start_is_of_each_layer(results, tmp_path):
    """The first two layers moved by 100 % of their norm, the third not at all: the median is 100 %."""
    lines = distance_report(EXPERIMENTS["updated"], results, tmp_path)
    assert lines[2] == "| digits, naive | 1e+02 % | 0 % | 1e+02 % | 1 of 3 |"
    assert (tmp_path / "updated-digits.png").stat().st_size > 1000


def test_units_above_thresholds_are_counted_at_a_layer(results, tmp_path):
    """Every unit of the second layer responds to every image with 1: above 0.05 and 0.5, not above 5 and 50."""
    lines = threshold_report(2)(EXPERIMENTS["figA1"], results, tmp_path)
    shares = "100.0 % | 100.0 % | 0.0 % | 0.0 %"
    assert lines[2] == f"| digits, naive | dense2 | {shares} | {shares} |"
    assert (tmp_path / "figA1-digits-naive.png").stat().st_size > 1000


def test_responses_are_those_to_all_images(results, tmp_path):
    """A layer beyond the network's depth is its last."""
    lines = response_pictures(2, 99)(EXPERIMENTS["fig6-8"], results, tmp_path)
    assert [line for line in lines if "images" in line] == [
        f"digits, naive, dense{layer}, 100 images." for layer in (2, 3)
    ]


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


@pytest.mark.parametrize("scenario", ["naive", "bn", "proposed"])
def test_responses_of_the_demonstration_are_the_networks(scenario):
    """In training mode; to the rounding of the network's float32."""
    images = np.random.default_rng(0).normal(size=(40, 4, 4, 1))
    found = hidden_responses(scenario, images, layers=(3,), depth=3, units=8, seed=1)[0]
    keras.utils.set_random_seed(1)
    model = build_plainnet("dense", 3, 8, input_shape=(4, 4, 1), scenario=scenario)
    theirs = keras.Model(model.input, model.get_layer("dense3_act").output)(images, training=True)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(theirs).T, atol=1e-5)


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


@pytest.mark.slow
def test_table_of_parameters_is_counted(tmp_path):
    lines = EXPERIMENTS["table1"].report(EXPERIMENTS["table1"], [], tmp_path)
    assert "| 3 | 0.50 M | 0.50 M |" in lines and "| 20 | 2.04 M | 2.04 M |" in lines
    lines = EXPERIMENTS["tableA1"].report(EXPERIMENTS["tableA1"], [], tmp_path)
    assert "| conv49 | 96 | 3x3 | 7x7 |" in lines and lines[-1] == "parameters: 0.72 M, paper 0.72 M"
