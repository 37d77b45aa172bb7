"""An option that decides nothing beside the others is an error, not silence."""

import pytest

from dirac_keras.cli.options import read_config
from dirac_keras.distribution import open_strategy
from dirac_keras.training.config import TrainConfig

WITHOUT_EFFECT = [
    {"decay_epochs": (2, 3)},
    {"decay_factor": 0.1},
    {"schedule": "constant", "warmup_fraction": 0.3},
    {"schedule": "constant", "end_fraction": 0.1},
    {"muon_learning_rate": 0.1},
    {"base_batch_size": 64},
    {"momentum": 0.0, "nesterov": True},
    {"family": "resnet", "depth": 20, "sigma": 0.01, "kernel_initializer": "he_uniform"},
    {"parameterization": "plain", "filter_scale": 0.2},
    {"family": "highway", "layout": "conv", "depth": 7, "skips": False, "gate_bias": -1.0},
    {"family": "van", "depth": 4, "skip_constraint": False, "phase_out_end": 1.0},
    {"on_broken": "skip"},
    {"max_pixels": 1000},
    {"data_dir": "/data"},
    {"data": "folder:/photos", "data_dir": "/data"},
]


@pytest.mark.parametrize("fields", WITHOUT_EFFECT, ids=str)
def test_option_without_effect_is_refused(fields):
    with pytest.raises(ValueError, match=r"has an effect only .*leave it out"):
        read_config(None, {"depth": 10, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "step", "decay_epochs": (2, 3), "decay_factor": 0.1},
        {"schedule": "one_cycle", "warmup_fraction": 0.0, "start_fraction": 0.5},
        {"optimizer": "muon", "muon_learning_rate": 0.1, "muon_momentum": 0.9},
        {"learning_rate_scaling": "linear", "base_batch_size": 64},
        {"filter_scale": 0.2, "kernel_initializer": "he_uniform"},
        {"family": "highway", "layout": "conv", "depth": 7, "gate_bias": -1.0},
        {"data": "folder:/photos", "on_broken": "skip", "max_pixels": 1000},
        {"data": "cifar10", "data_dir": "/data"},
    ],
    ids=str,
)
def test_option_with_an_effect_is_taken(fields):
    read_config(None, {"depth": 10, **fields})


def test_record_of_a_run_with_every_field_in_it_is_taken(tmp_path):
    import json

    path = tmp_path / "config.json"
    path.write_text(json.dumps(TrainConfig(depth=10).to_dict()))
    assert read_config(path, {"seed": 3}).seed == 3


def test_schedule_of_steps_without_its_epochs_is_refused():
    with pytest.raises(ValueError, match="schedule=step needs decay_epochs"):
        TrainConfig(depth=10, schedule="step")
    assert TrainConfig(depth=28, recipe="cifar").decay_epochs == (60, 120, 160)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"worker_index": 3}, "`worker_index` counts among `workers`, which are not given"),
        ({"name": "one", "worker_index": 0}, "`worker_index` counts among `workers`"),
        ({"tpu": "NAME"}, "`tpu` is for `strategy=\"tpu\"`. Received tpu='NAME' with strategy='auto'"),
        ({"name": "mirrored", "tpu": "NAME"}, "`tpu` is for"),
        ({"workers": ["a:1", "b:99999"], "worker_index": 0}, "ports from 1 to 65535. Received 'b:99999'"),
    ],
)
def test_option_of_other_devices_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        open_strategy(**options)


def test_port_of_a_dispatcher_that_runs_elsewhere_is_refused(monkeypatch):
    from click.testing import CliRunner

    from dirac_keras.cli.service import data_service

    result = CliRunner().invoke(data_service, ["--dispatcher", "grpc://there:1", "--port", "5051"])
    assert "`port` is that of a dispatcher here. Received port=5051" in str(result.exception)
