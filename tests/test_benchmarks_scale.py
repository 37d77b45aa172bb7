"""The arithmetic of `python -m benchmarks scale`, on numbers worked by hand."""

import dataclasses
import math

import click
import keras
import pytest
from click.testing import CliRunner

from benchmarks import scale
from benchmarks import scale_model as model

CLUSTER = model.Cluster(
    layer_seconds=1e-3, flops_per_second=1e12, memory_bytes=1e9, node_chips=4, link_bytes=1e9, link_latency=1e-6,
    network_bytes=1e8, network_latency=1e-5, overlap=0.5, sums_per_normalization=2, cores=10, decode_rate=100,
    read_bytes=1e8, write_bytes=1e8, restart_seconds=100, chip_failure_seconds=1e6,
)  # fmt: skip
NETWORK = model.Network(
    "net", 10, flops=9e8, activations=5000, gradient_bytes=4_000_000, checkpoint_bytes=8_000_000, statistics=(64, 64)
)
DATA = model.Data("set", images=100_000, file_bytes=50_000, largest_batch=128)


def test_ring_sends_each_part_twice_around():
    # 4 chips, parts of 1 MB: 6 sends of 1 MB at 1 GB/s are 6 ms, and 6 hops of 1 us.
    assert model.ring_seconds(4e6, 4, 1e9, 1e-6) == pytest.approx(6e-3 + 6e-6)


def test_tree_goes_up_and_down():
    # 5 chips: 3 levels; 6 sends of 256 bytes at 1 GB/s and 6 hops.
    assert model.tree_seconds(256, 5, 1e9, 1e-6) == pytest.approx(6 * 256e-9 + 6e-6)


def test_small_sums_take_the_tree_and_large_ones_the_ring():
    assert model.sum_seconds(8, 64, 1e9, 1e-6) == model.tree_seconds(8, 64, 1e9, 1e-6)
    assert model.sum_seconds(1e9, 64, 1e9, 1e-6) == model.ring_seconds(1e9, 64, 1e9, 1e-6)
    assert model.sum_seconds(1e9, 1, 1e9, 1e-6) == 0


def test_sum_over_nodes_takes_a_quarter_of_the_bytes_across():
    # 8 chips in 2 nodes: within, as above; across, 1 MB over a ring of two: 2 sends of 0.5 MB at 100 MB/s, 2 hops.
    expected = (6e-3 + 6e-6) + (1e-2 + 2e-5)
    assert model.cluster_sum_seconds(4e6, 8, CLUSTER) == pytest.approx(expected)
    assert model.cluster_sum_seconds(4e6, 4, CLUSTER) == pytest.approx(6e-3 + 6e-6)
    assert model.cluster_sum_seconds(4e6, 1, CLUSTER) == 0


def test_step_of_a_chip_is_its_layers_and_its_images():
    # An image: 0.9 ms of operations, and 5,000 numbers of 20 bytes at 1 GB/s, 0.1 ms.
    assert model.compute_seconds(NETWORK, 32, CLUSTER) == pytest.approx(10e-3 + 32e-3)


def test_statistics_are_summed_one_after_the_other():
    # 4 sums of 256 bytes within a node of 4, by the tree each: 4 sends of 256 ns, 4 hops of 1 us. The ring has 6 hops.
    assert model.statistics_seconds(NETWORK, 4, CLUSTER) == pytest.approx(4 * 4 * (256e-9 + 1e-6))


def test_gradients_hide_behind_two_thirds_of_the_computing_times_the_overlap():
    assert model.exposed_seconds(10e-3, 15e-3, 0.5) == pytest.approx(5e-3)
    assert model.exposed_seconds(1e-3, 15e-3, 0.5) == 0


def test_input_is_the_slower_of_decoding_and_reading():
    # 4 chips of 32 images on a host: 128 images, 1,000 a second decoded; 6.4 MB at 100 MB/s.
    assert model.input_seconds(32, DATA, CLUSTER, 8) == pytest.approx(0.128)
    slow_disk = dataclasses.replace(CLUSTER, read_bytes=1e7)
    assert model.input_seconds(32, DATA, slow_disk, 8) == pytest.approx(0.64)
    assert model.input_seconds(32, DATA, CLUSTER, 1) == pytest.approx(0.032)


def test_checkpoint_interval_loses_least():
    # 80 ms to write, one failure in 1e6 / 8 seconds: sqrt(2 * 0.08 * 125000).
    interval = model.checkpoint_interval(0.08, 8, CLUSTER)
    assert interval == pytest.approx(math.sqrt(20_000))
    least = model.lost_share(0.08, interval, 8, CLUSTER)
    assert least == pytest.approx(0.08 / interval + 8e-6 * (interval / 2 + 100))
    assert all(model.lost_share(0.08, interval * factor, 8, CLUSTER) > least for factor in (0.5, 2))


def test_prediction_adds_up():
    found = model.predict(NETWORK, DATA, 8, 32, CLUSTER)
    assert found.batch == 16, "128 images are the most for all 8"
    assert found.compute == pytest.approx(26e-3)
    assert found.exposed == pytest.approx(found.gradients - 0.5 * 26e-3 * 2 / 3)
    assert found.input == pytest.approx(0.064) and found.step == found.input, "the input is slowest here"
    assert found.images_per_second == pytest.approx(128 / 0.064 * (1 - found.lost))
    alone = 32 / 42e-3
    assert found.efficiency == pytest.approx(found.images_per_second / (8 * alone))
    assert found.epoch == pytest.approx(100_000 / found.images_per_second)
    assert found.breaks_first[0] == "input"
    # What is lost and what is not is the whole: the step, then the checkpoints on top.
    in_step = sum(share for cause, share in found.losses.items() if cause != "checkpoints and failures")
    assert (1 - in_step) * (1 - found.lost) == pytest.approx(found.efficiency)


def test_one_chip_with_its_images_at_hand_loses_nothing_but_failures():
    quick = dataclasses.replace(CLUSTER, decode_rate=1e9, read_bytes=1e15, chip_failure_seconds=1e15)
    found = model.predict(NETWORK, DATA, 1, 32, quick)
    assert found.efficiency == pytest.approx(1, abs=1e-6) and found.breaks_first is None


def test_chip_is_fitted_to_two_steps():
    other = dataclasses.replace(NETWORK, layers=20, flops=50e9, activations=70_000)
    timed = [(network, model.compute_seconds(network, 32, CLUSTER)) for network in (NETWORK, other)]
    layer_seconds, rate = model.fit_chip(*timed, 32, CLUSTER.memory_bytes)
    assert layer_seconds == pytest.approx(1e-3) and rate == pytest.approx(1e12)


def test_line_through_timed_sums():
    sizes = [1e3, 1e5, 1e7]
    latency, bandwidth = model.fit_line(sizes, [2e-5 + size / 1e9 for size in sizes])
    assert latency == pytest.approx(2e-5) and bandwidth == pytest.approx(1e9)


def test_network_is_counted_in_the_model():
    """8 x 8 images, 3x3 convolution to 2 channels, dense layer to 3 classes."""
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, padding="same", use_bias=False)]
    layers += [keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    found = scale.describe("small", keras.Sequential(layers))
    assert found.layers == 2 and found.flops == 6 * (64 * 9 * 2 + 2 * 3)
    assert found.activations == 64 * 2 + 3
    assert found.gradient_bytes == 4 * (18 + 4 + 9) and found.checkpoint_bytes == 4 * (2 * 31 + 4)
    assert found.statistics == (2,)


def test_measured_step_sets_the_chips_rate():
    cluster = scale.with_step(CLUSTER, NETWORK, 32, 0.05)
    assert model.compute_seconds(NETWORK, 32, cluster) == pytest.approx(0.05)
    with pytest.raises(click.UsageError, match=r"--step-ms must be above 13\.2.*Received 13"):
        scale.with_step(CLUSTER, NETWORK, 32, 0.013)  # 10 layers of 1 ms and 32 images of 0.1 ms


def test_settings_are_numbers_of_the_cluster():
    assert scale.parse_settings(["cores=64", "overlap=0.5", "link_latency=0"]) == {
        "cores": 64, "overlap": 0.5, "link_latency": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "value"), [("--batch-size", "0"), ("--chips", "0"), ("--chips", "1,8,"), ("--step-ms", "nan")]
)
def test_number_that_no_cluster_has_is_refused_with_what_was_given(flag, value):
    result = CliRunner().invoke(scale.main, ["--network=VAN-34", flag, value])
    assert result.exit_code == 2 and flag in result.output


def test_chips_that_fail_before_they_are_started_never_end_an_epoch():
    """10^12 chips that fail once in 10^6 s each: a million failures a second."""
    found = model.predict(NETWORK, DATA, 10**12, 32, CLUSTER)
    assert math.isinf(found.epoch) and found.breaks_first == ("checkpoints and failures", 1.0)
    assert "| never |" in list(scale.prediction_lines([found]))[-1]


@pytest.mark.parametrize("text", ["core=64", "cores", "cores=0", "cores=1.5", "cores=-1", "overlap=1.5", "cores=nan"])
def test_setting_that_is_none_is_refused_with_what_was_given(text):
    with pytest.raises(click.BadParameter, match=f"Received '{text}'"):
        scale.parse_settings([text])


def test_check_adds_the_sums_of_the_compiled_step_to_one_devices_step(monkeypatch):
    """10 us and a byte a nanosecond: 30 sums of 60 kB together are 0.3 ms and 0.06 ms."""
    from benchmarks import scale_measured

    def measured(devices, processes):
        found = {"devices": devices, "processes": processes, "step": 0.020}
        if devices == 1:
            return found
        sums = [(size, 1e-5 + size * 1e-9) for size in (100, 10_000, 1_000_000)]
        return {**found, "step": 0.021, "sums": sums, "operations": 30, "bytes": 60_000}

    monkeypatch.setattr(scale_measured, "measured", measured)
    rows = scale.checked()
    assert [row["predicted"] for row in rows] == pytest.approx([0.02, *[0.02036] * 3])
    lines = list(scale.check_lines(rows))
    assert (
        lines[-1] == "| 2 | 2 | 21.0 | 20.4 | 0.4 | 30 | 0.06 |" and lines[4] == "| 1 | 1 | 20.0 | 20.0 | 0 | 0 | 0 |"
    )
