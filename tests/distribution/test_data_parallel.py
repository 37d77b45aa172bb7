"""Several devices of JAX compute what one computes; in processes of their own, as devices are fixed when JAX starts."""

import json
import subprocess

import keras
import pytest

pytest.importorskip("jax")

from dirac_keras.distribution import open_strategy
from tests.distribution import workers
from tests.distribution.tasks import TASKS

ENVIRONMENT = workers.environment("jax")
RUN = ["--data=digits", "--family=plainnet", "--recipe=plainnet", "--depth=3", "--units=16", "--precision=float32"]
RUN += ["--max-train=256", "--max-test=99", "--batch-size=64", "--learning-rate=0.01"]
# In float64 there is no rounding to be amplified: 1e-12 is thousands of last bits, and nothing beside a mistake.
EXACT = 1e-12


@pytest.fixture(scope="module")
def found():
    return workers.run_script("devices_script.py", "quick", backend="jax")


@pytest.fixture(scope="module")
def found_at_length():
    return workers.run_script("devices_script.py", backend="jax")


def check_equal(figures):
    assert figures["learned"] > 0, "nothing was trained"
    assert figures["weights"] < EXACT and figures["metrics"] < EXACT and figures["test"] < EXACT, figures
    assert figures["between"] == 0, "the devices' weights or statistics differ"


def test_auto_takes_all_devices(found):
    assert found["auto"] == "data_parallel" and found["replicas"] == 4
    assert found["said"] == "4 replicas (data_parallel)"


def test_four_devices_train_to_the_weights_and_metrics_of_one(found):
    check_equal(found["networks"]["plainnet on 4"])
    assert found["limit"].startswith(("limited by input: ", "limited by compute: ")), found["limit"]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("network", ["diracnet", "plainnet", "van"])
def test_devices_train_every_family_to_the_weights_and_metrics_of_one(found_at_length, network, devices):
    check_equal(found_at_length["networks"][f"{network} on {devices}"])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["diracnet", "plainnet", "van"])
def test_muon_on_four_devices_is_muon_on_one(found_at_length, network):
    check_equal(found_at_length["networks"][f"{network} by Muon"])


@pytest.mark.slow
def test_devices_train_in_chunks_of_steps_with_the_data_on_each_to_the_weights_of_one(found_at_length):
    check_equal(found_at_length["networks"]["van in chunks"])


@pytest.mark.slow
def test_averaged_weights_are_those_of_one_device(found_at_length):
    check_equal(found_at_length["networks"]["averaged on 4"])


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_labels_and_values_are_learned_and_judged_as_on_one_device(found_at_length, task):
    check_equal(found_at_length["networks"][f"{task} on 4"])


@pytest.mark.slow
def test_clipped_updates_of_several_batches_are_those_of_one_device(found_at_length):
    check_equal(found_at_length["networks"]["accumulated on 4"])


@pytest.mark.slow
def test_devices_stop_where_one_does_and_keep_its_weights(found_at_length):
    check_equal(found_at_length["networks"]["stopped on 4"] | {"learned": 1})
    assert len(set(found_at_length["best"])) == 1


@pytest.mark.slow
def test_run_resumes_on_other_numbers_of_devices(found_at_length):
    """Killed on two, then on four, ended on one: the run of one device that nobody interrupted."""
    figures = found_at_length["resumed"]
    check_equal(figures | {"between": 0})
    assert figures["kept"] == [["step-00000003.keras"], ["step-00000009.keras", "step-00000012.keras"]]
    assert figures["skips"], "the rows of skips.csv differ"


def test_batch_that_the_devices_cannot_share_is_refused(found):
    assert found["uneven"] == ("batch_size must divide evenly over 4 replicas. Received batch_size=66; give 64 or 68.")


def test_devices_cannot_be_split_when_jax_computes(found):
    assert found["late"].startswith("logical_devices must be set before JAX computes anything. Received 3 afterwards;")


def test_strategies_of_tensorflow_name_those_of_jax(found):
    assert found["mirrored"] == (
        "strategy mirrored is for Keras on TensorFlow. Received strategy='mirrored' with Keras on jax; use "
        '`strategy="data_parallel"`, or set KERAS_BACKEND=tensorflow.'
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what TensorFlow says")
def test_strategy_of_jax_names_those_of_tensorflow():
    with pytest.raises(ValueError, match=r'use `strategy="mirrored"` or .* or set KERAS_BACKEND=jax') as raised:
        open_strategy("data_parallel")
    assert "strategy data_parallel is for Keras on JAX" in str(raised.value)


def start(*options):
    """Starts both of two workers in a folder."""
    return lambda folder: workers.start_workers(RUN, folder, *options, backend="jax")


@pytest.mark.slow
def test_two_processes_of_two_devices_train_as_one(tmp_path):
    """Float32: the sums' rounding over 8 steps; `devices_script` has float64."""
    one = [*workers.command(RUN, "--epochs=2"), f"--workdir={tmp_path / 'one'}"]
    subprocess.run(one, check=True, env=ENVIRONMENT, capture_output=True)
    outputs, codes = workers.finish(start("--epochs=2", "--logical-devices=2")(tmp_path))
    assert codes == [0, 0], outputs
    assert not (tmp_path / "1").exists(), "the first worker alone writes"
    summary = json.loads((tmp_path / "0" / "summary.json").read_text())
    assert summary["replicas"] == 4 and summary["replica_difference"] == 0
    workers.assert_same(tmp_path / "one", tmp_path / "0", 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_worker_that_dies_ends_the_other_and_the_run_goes_on(victim, tmp_path):
    output = workers.check_dead_worker(start("--epochs=12", "--checkpoint-steps=2"), tmp_path, victim)
    assert f"worker {victim} (127.0.0.1:" in output
    assert output.strip().splitlines()[-1].endswith("the run resumes from its last checkpoint.")


@pytest.mark.slow
def test_signal_to_one_worker_ends_both_with_the_step_saved_and_the_run_goes_on_within_the_epoch(tmp_path):
    workers.check_signal(start("--epochs=3", "--max-train=1024", "--checkpoint-steps=2"), tmp_path)
