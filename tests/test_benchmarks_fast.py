"""`benchmarks.fast`: its rows are valid trainings, each other than the recipe in one place, and are measured once."""

import pytest
from click.testing import CliRunner

from benchmarks.fast import NETWORKS, make_config, make_model, table
from benchmarks.fast import main as fast

ROWS = [(network, name) for network, (_, changes) in NETWORKS.items() for name in changes]


@pytest.mark.parametrize(("network", "name"), ROWS)
def test_row_is_a_training_that_can_be(network, name):
    change = NETWORKS[network][1][name]
    config = make_config(network, change, {"data": "cifar10"}, seed=3)
    assert config.seed == 3
    first, *_ = NETWORKS[network][1]
    plain = make_config(network, NETWORKS[network][1][first], {"data": "cifar10"}, seed=3)
    differs = config != plain or bool(change.augmentation or change.build) or not change.whitened
    assert differs == (name != first)


def test_whitening_left_out_is_a_convolution_that_trains():
    from pipelines import load_splits

    common = {"data": "digits", "width": 0.1, "depth": 5, "batch_size": 64, "max_train": 128, "precision": "float32"}
    for name, trains in (("nothing", False), ("without whitening", True), ("without the scale of the head", False)):
        change = NETWORKS["fastnet"][1][name]
        config = make_config("fastnet", change, common, 0)
        model = make_model(change, config, load_splits(**config.data_arguments()))
        assert model.get_layer("whiten").kernel.trainable == trains


def test_table_has_the_mean_and_the_spread_of_the_seeds():
    row = {"accuracy": 90.0, "accuracy_of_views": 91.0, "train_accuracy": 80.0, "seconds": 10.4}
    lines = table({"nothing": [row, {**row, "accuracy": 92.0}]})
    assert lines[2] == "| nothing | 91.00 (90.00-92.00) | 91.00 (91.00-91.00) | 80.00 (80.00-80.00) | 10 (10-10) | 2 |"


@pytest.mark.slow
def test_rows_are_trained_once_and_measured(tmp_path):
    arguments = ["--data=digits", "--max-train=256", "--max-test=64", "--width=0.1", "--epochs=1", "--batch-size=64"]
    arguments += ["--leave-out=nothing", "--leave-out=without flips", f"--json={tmp_path / 'fast.json'}", "--curve"]
    result = CliRunner().invoke(fast, arguments, catch_exceptions=False)
    assert "without flips, seed 0: " in result.output and "| nothing | " in result.output
    assert CliRunner().invoke(fast, arguments, catch_exceptions=False).output == result.output
    other = CliRunner().invoke(fast, [*arguments, "--epochs=3"])
    assert other.exit_code == 2 and "holds runs of" in other.output
    unknown = CliRunner().invoke(fast, ["--leave-out=luck"])
    assert unknown.exit_code == 2 and "'luck' is no row of fastnet" in unknown.output
