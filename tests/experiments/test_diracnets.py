"""The entries of the DiracNets paper: what they train, and reports made from small run files."""

import json

import numpy as np
import pytest

from dirac_keras.experiments import report
from dirac_keras.experiments.artefacts import ARTEFACTS
from dirac_keras.experiments.diracnets import EXPERIMENTS, imagenet, scales, sizes
from dirac_keras.experiments.diracnets.initialization import sigma_run
from dirac_keras.experiments.diracnets.networks import cifar10_run
from dirac_keras.experiments.runs import full_runs, short_runs, with_seeds
from dirac_keras.experiments.tables import figures_table
from dirac_keras.files.keras_file import save_model
from dirac_keras.files.tables import write_table
from dirac_keras.models import build_diracnet
from dirac_keras.training.folder.directory import RunDirectory


def finished(run, folder, accuracies, scales=(), metrics=(), **summary):
    """The files of a run's seeds as reports read them: `[(Run, RunDirectory), ...]`."""
    results = []
    for one, accuracy in zip(with_seeds([run], len(accuracies)), accuracies, strict=True):
        directory = RunDirectory(folder / one.name)
        directory.path.mkdir()
        write_table(directory.metrics, list(metrics) or [{"epoch": 1, "accuracy": accuracy}])
        if scales:
            write_table(directory.scales, list(scales))
        directory.summary.write_text(json.dumps({"test_accuracy": accuracy, **summary}))
        results.append((one, directory))
    return results


def test_every_artefact_of_the_paper_has_an_entry():
    assert {name for entry in EXPERIMENTS.values() for name in entry.artefacts} == set(ARTEFACTS["diracnets"])


def test_full_runs_have_the_papers_recipe_and_all_images():
    lengths = {"cifar": 200, "wide_resnet": 200, "imagenet": 100}
    for entry in EXPERIMENTS.values():
        for run in full_runs(entry):
            config = run.config()
            assert config.epochs == lengths[config.recipe], run.name
            assert (config.max_train, config.image_size, config.label_smoothing) == (None, None, 0), run.name
            is_wide = (config.family, config.width) == ("wide_resnet", 10)  # beside the number of its own paper
            assert config.recipe == (
                "imagenet" if config.data == "imagenet2012" else "wide_resnet" if is_wide else "cifar"
            )


def test_full_runs_that_train_the_same_share_a_folder_and_no_others_do():
    folders, configs = {}, {}
    for entry in EXPERIMENTS.values():
        for run in full_runs(entry, 1):
            config = run.config()
            assert folders.setdefault(run.name, config) == config, run.name
            assert configs.setdefault(config, run.name) == run.name


def test_plain_network_of_100_layers_has_both_errors_of_the_paper():
    """Section 3.1: "only achieves 40% train/validation accuracy"; width 1 alone is the paper's."""
    assert cifar10_run("plain", 100).paper == {"train_error": 60, "test_error": 60}
    assert cifar10_run("dirac", 34).paper == {"test_error": 7.2} and not cifar10_run("dirac", 34, 2).paper


def test_fig1_has_the_papers_widths_a_resnet_beside_and_five_seeds():
    runs = full_runs(EXPERIMENTS["fig1"])
    assert {run.series for run in runs} == {
        *(f"{network}, width {width}" for network in ("DiracNet", "ResNet") for width in (1, 2, 4)),
        "plain, width 1",
    }
    assert {run.fields["depth"] for run in runs if run.series == "ResNet, width 4"} >= {10, 28, 100}
    assert len(runs) == 5 * len(EXPERIMENTS["fig1"].runs)
    short = short_runs(EXPERIMENTS["fig1"], 1)
    assert all(run.fields.get("width", 1) <= 2 for run in short)


def test_sigma_has_zero_and_the_orthogonal_start():
    configs = [run.config() for run in EXPERIMENTS["sigma"].runs]
    assert 0 in {config.sigma for config in configs}
    assert {config.sigma for config in configs if config.kernel_initializer == "orthogonal"} >= {1e-8, 1.0}
    assert sigma_run(1e-8).name == "cifar10-resnet28-sigma1e-08"


def test_fig1_shows_the_median_of_the_seeds_and_parameters_as_area(tmp_path):
    results = finished(cifar10_run("dirac", 10), tmp_path, (0.75, 0.9, 0.91), parameters=500_000)
    results += finished(cifar10_run("dirac", 28, 2), tmp_path, (0.8, 0.9), parameters=2_000_000)
    lines = sizes.accuracy_over_size(EXPERIMENTS["fig1"], results, tmp_path)
    assert lines[2:4] == ["| DiracNet, width 1 | 90.00 (0.50 M) |  |", "| DiracNet, width 2 |  | 85.00 (2.00 M) |"]
    assert "Median of the seeds; seeds: 2 to 3." in lines
    assert (tmp_path / "fig1.png").stat().st_size > 1000
    points = {"DiracNet, width 1": {10: (90.0, 0.5, 3)}, "ResNet, width 2": {28: (85.0, 2.0, 3)}}
    areas = [circles.get_sizes()[0] for circles in sizes._picture(points).axes[0].collections]
    assert areas[1] == 4 * areas[0]


def test_one_seed_has_no_bar_and_several_reach_from_the_lowest_to_the_highest(tmp_path, monkeypatch):
    results = finished(cifar10_run("dirac", 10), tmp_path, (0.9,))
    results += finished(cifar10_run("dirac", 28), tmp_path, (0.8, 0.9, 0.91))
    drawn = []
    monkeypatch.setattr(report, "save", lambda figure, path: drawn.append(figure))
    report.accuracy_over_depth(EXPERIMENTS["fig1"], results, tmp_path)
    [axis] = drawn[0].axes
    assert list(axis.lines[0].get_ydata()) == pytest.approx([90.0, 87.0])
    [bars] = axis.containers
    np.testing.assert_allclose(bars[2][0].get_segments()[0], [[28, 80.0], [28, 91.0]])
    assert "bars: lowest to highest" in drawn[0].get_suptitle().replace("\n", " ")


def test_table_has_mean_and_deviation_of_the_seeds_beside_the_papers_number(tmp_path):
    """91, 92 and 93 % of accuracy: 8 % of error with a deviation of 1."""
    run = EXPERIMENTS["table2"].runs[0]
    results = finished(run, tmp_path, (0.91, 0.92, 0.93), parameters=20_040_000, train_accuracy=0.995)
    assert figures_table(results, ("parameters", "train_error", "test_error"))[2:] == [
        "| VGG | 20.04 M | 20.00 M | 0.50 % |  | 8.00 ± 1.00 % | 6.09 ± 0.11 % | 3 |"
    ]


def test_table2_names_what_the_paper_quotes(tmp_path):
    entry = EXPERIMENTS["table2-cifar100"]
    lines = entry.report(entry, finished(entry.runs[1], tmp_path, (0.7,), parameters=9_160_000), tmp_path)
    assert lines[2] == "| DiracNet-28-5 | 9.16 M | 9.10 M | 30.00 % |  | 30.00 % | 23.44 ± 0.14 % | 1 |"
    assert lines[-1].endswith("NIN 35.67 %, ELU 24.28 %, ResNet-1001 22.71 % (10.2 M).")


def test_fig2_has_a_panel_a_group_and_the_ratio_of_a_to_b(tmp_path):
    rows = [
        {"epoch": epoch, "layer": f"group{group}_block{block}_conv", "identity_scale": a, "filter_scale": b}
        for epoch, a in ((0, 1.0), (1, 0.5))
        for group, block, b in ((1, 1, 0.1), (1, 2, 0.25), (2, 1, 0.5))
    ]
    lines = scales.scales_over_training(
        EXPERIMENTS["fig2"], finished(cifar10_run("dirac", 34), tmp_path, (0.9,), scales=rows), tmp_path
    )
    assert "| group1, 2 layers | 0.50 to 0.50 | 0.10 to 0.25 | 2.00 to 5.00 |" in lines
    assert "| group2, 1 layer | 0.50 to 0.50 | 0.50 to 0.50 | 1.00 to 1.00 |" in lines
    assert (tmp_path / "fig2-cifar10-dirac34.png").stat().st_size > 1000
    axes = scales._picture(scales._by_group(rows)).axes
    assert [axis.get_title("left") for axis in axes[:2]] == ["group1", "group2"]
    assert list(axes[0].lines[1].get_ydata()) == [1.0, 0.5]  # a of the second layer


def test_planes_that_are_the_identity_alone_are_counted(tmp_path):
    """Section 3.3. In one layer of eight planes, b of two is a thousandth of a, and a of one a thousandth of b."""
    results = finished(cifar10_run("dirac", 34), tmp_path, (0.9,))
    ((_, directory),) = results
    model = build_diracnet(10, 0.25, input_shape=(8, 8, 1))
    layers = [layer for layer in model.layers if getattr(layer, "filter_scale", None) is not None]
    for layer in layers:
        layer.identity_scale.assign(np.ones(layer.identity_scale.shape))
        layer.filter_scale.assign(np.full(layer.filter_scale.shape, -0.5))
    layers[1].filter_scale.assign([0.001, -0.001, *[0.5] * (layers[1].filter_scale.shape[0] - 2)])
    layers[0].identity_scale.assign([0.0001, *[1.0] * (layers[0].identity_scale.shape[0] - 1)])
    save_model(model, directory.model)
    count = sum(layer.filter_scale.shape[0] for layer in layers)
    said = f"Of {count} feature planes 2 are the identity alone (|b| below |a| / 100), 1 the filter alone."
    assert scales._planes(directory) == said
    directory.model.unlink()
    assert scales._planes(directory).startswith("Single planes are not counted: ")


def test_table3_and_fig3_have_the_top5_error(tmp_path):
    metrics = [
        {"epoch": 1, "accuracy": 0.1, "top5": 0.25, "val_accuracy": 0.2, "val_top5": 0.5},
        {"epoch": 2, "accuracy": 0.5, "top5": 0.75, "val_accuracy": 0.6, "val_top5": 0.8},
    ]
    run = imagenet.imagenet_run("dirac", 18)
    results = finished(run, tmp_path, (0.6,), metrics=metrics, test_top5=0.8, parameters=11_700_000)
    row = "| DiracNet-18 | 11.70 M | 11.70 M | 40.00 % | 30.37 % | 20.00 % | 10.88 % | 1 |"
    table = imagenet.errors_table(EXPERIMENTS["table3"], results, tmp_path)
    assert table[2] == row
    assert table[-1].endswith("VGG-CNN-S 36.94 / 15.40 % (102.9 M), VGG-16 29.38 % (138.4 M).")
    (line,) = imagenet.convergence(EXPERIMENTS["fig3"], results, tmp_path)
    assert line == f"picture: {tmp_path / 'fig3.png'}"


@pytest.mark.slow
def test_structure_is_that_of_the_papers_table(tmp_path):
    lines = EXPERIMENTS["table1"].report(EXPERIMENTS["table1"], [], tmp_path)
    assert "| group2 | 16 x 16 | [3 x 3, 32] x 8 |" in lines and "| avg-pool | 1 x 1 | - |" in lines
    assert lines[-1] == "Parameters, without statistics: 0.37 M with k = 1; 9.12 M with k = 5, the paper's 9.1 M."


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_report_of_runs_that_all_diverged_is_written_all_the_same(name, tmp_path):
    entry = EXPERIMENTS[name]
    results = finished(entry.runs[0], tmp_path, (0.5,)) if entry.runs else []
    for _, directory in results:
        directory.config.write_text("{}")
        (directory.path / "diverged.txt").write_text("The loss became NaN.\n")
    if results:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunDirectory, "record", lambda self: type("Record", (), {"run": None}))
            assert entry.report(entry, results, tmp_path)
