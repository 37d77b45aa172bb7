"""What a step, an epoch and a checkpoint take on many chips, as pure functions of a few measured or stated numbers.

One chip computes `layers * layer_seconds + batch * (flops / flops_per_second + activations * 20 / memory_bytes)`. The
others add the sum of the gradients, the sums of each BatchNormalization's statistics, the wait for images, and what
checkpoints and failures cost. Seconds, bytes and images throughout; docs/scale.md says it in words.
"""

import dataclasses
import math

# Bytes that a step moves for each number that a convolution gives, in bfloat16: written; read for its statistics; read
# and written by normalization and ReLU; read by the next convolution; and as many on the way back.
ACTIVATION_BYTES = 20


@dataclasses.dataclass(frozen=True)
class Network:
    """What of a network decides its step.

    Attributes:
        name: str.
        layers: int, convolutions and dense layers.
        flops: number, of one image's training step: 2 a multiply-accumulate, 3 passes (forward, both gradients).
        activations: int, numbers that the layers give for one image.
        gradient_bytes: int, of all trainable weights, float32.
        checkpoint_bytes: int, weights, momentum and statistics, float32.
        statistics: tuple of ints, the channels of each BatchNormalization.
    """

    name: str
    layers: int
    flops: float
    activations: int
    gradient_bytes: int
    checkpoint_bytes: int
    statistics: tuple = ()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Chips, what joins them, what feeds them.

    Attributes:
        layer_seconds: of a layer's training step, however small its batch; flops_per_second, memory_bytes: a second,
            beyond that.
        node_chips: int, chips of a host, joined by links.
        link_bytes: a second that a chip sends to its neighbour in the node; link_latency: seconds of a hop.
        network_bytes: a second and chip to another node; network_latency: seconds of a hop.
        overlap: share of the backward pass that the sum of gradients can hide behind, 0 to 1.
        sums_per_normalization: int, sums over all chips for one BatchNormalization and step, one after the other.
        cores: int, of a host; decode_rate: images a second and core, read, decoded, cropped and resized.
        read_bytes: a second and host, from where the files are kept.
        write_bytes: a second of the one process that writes a checkpoint.
        restart_seconds: from a failure to the first new step; chip_failure_seconds: mean time of one chip, and its
            share of the host and network, between failures.
    """

    layer_seconds: float
    flops_per_second: float
    memory_bytes: float = 3.35e12
    node_chips: int = 8
    link_bytes: float = 450e9
    link_latency: float = 2.5e-6
    network_bytes: float = 50e9
    network_latency: float = 5e-6
    overlap: float = 0.0
    sums_per_normalization: int = 4
    cores: int = 208
    decode_rate: float = 734.0
    read_bytes: float = 10e9
    write_bytes: float = 1e9
    restart_seconds: float = 600.0
    chip_failure_seconds: float = 50_000 * 3600.0


@dataclasses.dataclass(frozen=True)
class Data:
    """A set of images.

    Attributes:
        name: str; images: int; file_bytes: mean of an image's file.
        largest_batch: int, of all chips, beyond which an epoch teaches less.
    """

    name: str
    images: int
    file_bytes: float
    largest_batch: int


def ring_seconds(size, chips, bandwidth, latency):
    """A sum over a ring: each chip sends `size / chips` bytes `2 (chips - 1)` times (Patarasuk & Yuan 2009)."""
    return 2 * (chips - 1) * (size / chips / bandwidth + latency)


def tree_seconds(size, chips, bandwidth, latency):
    """A sum up a binary tree and down again, all bytes at once: for small sums, whose latency counts."""
    return 2 * math.ceil(math.log2(chips)) * (size / bandwidth + latency)


def sum_seconds(size, chips, bandwidth, latency):
    """The quicker of ring and tree, as collective libraries choose."""
    if chips == 1:
        return 0.0
    return min(ring_seconds(size, chips, bandwidth, latency), tree_seconds(size, chips, bandwidth, latency))


def cluster_sum_seconds(size, chips, cluster):
    """A sum over all chips: within each node first, then each chip's share across nodes, then within again."""
    local = min(chips, cluster.node_chips)
    nodes = math.ceil(chips / local)
    within = sum_seconds(size, local, cluster.link_bytes, cluster.link_latency)
    return within + sum_seconds(size / local, nodes, cluster.network_bytes, cluster.network_latency)


def compute_seconds(network, batch, cluster):
    """A step of one chip alone, its images at hand."""
    return network.layers * cluster.layer_seconds + batch * (
        network.flops / cluster.flops_per_second + memory_seconds(network, cluster.memory_bytes)
    )


def memory_seconds(network, memory_bytes):
    """What moving the activations of one image takes."""
    return ACTIVATION_BYTES * network.activations / memory_bytes


def statistics_seconds(network, chips, cluster):
    """The sums of all BatchNormalizations over all chips, each waiting for the one before."""
    return sum(
        cluster.sums_per_normalization * cluster_sum_seconds(4 * channels, chips, cluster)
        for channels in network.statistics
    )


def exposed_seconds(gradients, compute, overlap):
    """What of the sum of gradients no backward pass (two thirds of the computing) hides."""
    return max(0.0, gradients - overlap * compute * 2 / 3)


def input_seconds(batch, data, cluster, chips):
    """Until a host has read and decoded the images of its chips' next step."""
    images = batch * min(chips, cluster.node_chips)
    return max(images / (cluster.cores * cluster.decode_rate), images * data.file_bytes / cluster.read_bytes)


def checkpoint_interval(write, chips, cluster):
    """Seconds between checkpoints that lose least, `sqrt(2 write failures)` (Young 1974)."""
    return math.sqrt(2 * write * cluster.chip_failure_seconds / chips)


def lost_share(write, interval, chips, cluster):
    """Share of the time that checkpoints take, and that failures undo: half an interval and the restart each."""
    failures = chips / cluster.chip_failure_seconds  # a second
    return min(1.0, write / interval + failures * (interval / 2 + cluster.restart_seconds))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What so many chips do; seconds of a step, shares of it, rates of all chips together.

    Attributes:
        network, data: str; chips: int; batch: int, of one chip.
        compute, gradients, exposed, statistics, input, step: seconds of a step. `gradients` is their whole sum,
            `exposed` what nothing hides; the wait for input is what exceeds the rest.
        images_per_second: of training; efficiency: of it to as many chips alone with `full_batch` each.
        input_bytes: a second, of files; cores_per_chip: that decode without a wait.
        checkpoint: seconds to write one; interval: seconds between two; lost: share that checkpoints and failures take.
        epoch: seconds, all included.
        losses: dict, cause -> share of the time lost by it.
    """

    network: str
    data: str
    chips: int
    batch: int
    compute: float
    gradients: float
    exposed: float
    statistics: float
    input: float
    step: float
    images_per_second: float
    efficiency: float
    input_bytes: float
    cores_per_chip: float
    checkpoint: float
    interval: float
    lost: float
    epoch: float
    losses: dict

    @property
    def breaks_first(self):
        """The cause of the largest loss, and its share; None below a hundredth."""
        cause = max(self.losses, key=self.losses.get)
        return (cause, self.losses[cause]) if self.losses[cause] >= 0.01 else None


def predict(network, data, chips, full_batch, cluster):
    """Training on so many chips.

    Args:
        network: `Network`; data: `Data`; cluster: `Cluster`.
        chips: int.
        full_batch: int, of a chip, unless all of them together would exceed `data.largest_batch`.

    Returns: `Prediction`.
    """
    batch = max(1, min(full_batch, data.largest_batch // chips))
    compute = compute_seconds(network, batch, cluster)
    gradients = cluster_sum_seconds(network.gradient_bytes, chips, cluster)
    exposed = exposed_seconds(gradients, compute, cluster.overlap)
    statistics = statistics_seconds(network, chips, cluster)
    fed = input_seconds(batch, data, cluster, chips)
    busy = compute + exposed + statistics
    step = max(busy, fed)
    write = network.checkpoint_bytes / cluster.write_bytes
    interval = checkpoint_interval(write, chips, cluster)
    lost = lost_share(write, interval, chips, cluster)
    rate = chips * batch / step * (1 - lost)
    alone = full_batch / compute_seconds(network, full_batch, cluster)
    ideal = batch / alone  # seconds that the batch would take at the rate of a full one
    losses = {
        "small batches": (compute - ideal) / step,
        "gradients": exposed / step,
        "statistics": statistics / step,
        "input": (step - busy) / step,
        "checkpoints and failures": lost,
    }
    return Prediction(
        network=network.name,
        data=data.name,
        chips=chips,
        batch=batch,
        compute=compute,
        gradients=gradients,
        exposed=exposed,
        statistics=statistics,
        input=fed,
        step=step,
        images_per_second=rate,
        efficiency=rate / (chips * alone),
        input_bytes=rate * data.file_bytes,
        cores_per_chip=rate / chips / cluster.decode_rate,
        checkpoint=write,
        interval=interval,
        lost=lost,
        epoch=data.images / rate if rate else math.inf,
        losses=losses,
    )


def fit_chip(first, second, batch, memory_bytes):
    """`(layer_seconds, flops_per_second)` of a chip on which the steps of two networks were timed.

    Args:
        first, second: `(Network, seconds)` each.
        batch: int, of both.
        memory_bytes: a second, of the chip.
    """
    (network, seconds), (other, other_seconds) = first, second
    seconds -= batch * memory_seconds(network, memory_bytes)
    other_seconds -= batch * memory_seconds(other, memory_bytes)
    determinant = batch * (network.layers * other.flops - other.layers * network.flops)
    layer_seconds = batch * (seconds * other.flops - other_seconds * network.flops) / determinant
    per_flop = (network.layers * other_seconds - other.layers * seconds) / determinant
    return layer_seconds, 1 / per_flop


def fit_line(sizes, seconds):
    """`(latency, bandwidth)` of sums timed at several sizes: the line through them by least relative squares.

    Args:
        sizes: bytes; seconds: of each.
    """
    import numpy as np

    sizes, seconds = np.asarray(sizes, float), np.asarray(seconds, float)
    matrix = np.stack([1 / seconds, sizes / seconds], axis=1)
    (latency, per_byte), *_ = np.linalg.lstsq(matrix, np.ones(len(sizes)), rcond=None)
    return max(0.0, float(latency)), 1 / max(float(per_byte), 1e-18)
