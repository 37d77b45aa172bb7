"""What the records of a run must hold, by kind of file: checked where they are read."""

from typing import Annotated

import msgspec
from msgspec import Meta

_Share = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=0)]


class RunRecord(msgspec.Struct):
    """`config.json`, beside the fields of `TrainConfig`, which `TrainConfig` checks.

    Attributes:
        run: the run's identifier, which its other records repeat; None for a run of 0.1.0 or before.
        threads: see `threads.threads_in_effect`; None likewise.
        backend, reader: see `origin.origin_of`; None for a run that began before there were two readers.
        device: GPU or TPU that the run began on, see `hardware.device`; None for a CPU, or if it was not recorded.
        test_images: see `origin.digest_of_images`; None if they are not in memory, or likewise.
        start_sha256: of the model that it started from, see `starting`; None for random weights.
    """

    versions: dict[str, str]
    precision_used: str
    data_spec: dict
    commit: str | None = None
    machine: str | None = None
    started: str | None = None
    run: str | None = None
    threads: dict[str, Annotated[int, Meta(ge=1)]] | None = None
    backend: str | None = None
    reader: str | None = None
    device: str | None = None
    test_images: str | None = None
    start_sha256: str | None = None


class SummaryRecord(msgspec.Struct):
    """`summary.json`.

    Attributes:
        train_accuracy, train_loss, train_images: see `training_error.training_figures`.
        epochs: that were trained.
        best_epoch, monitor, best_figure: of weights that were kept, see `best`.
        run: see `RunRecord`.
        tables: name of a table of the run -> SHA-256 of the file as it was at the end.
    """

    test_accuracy: _Share | None = None
    test_loss: float | None = None
    test_top5: _Share | None = None
    test_exact_match: _Share | None = None
    test_f1_macro: _Share | None = None
    test_f1_micro: _Share | None = None
    test_mean_average_precision: _Share | None = None
    test_mae: float | None = None
    test_r2: float | None = None
    train_accuracy: _Share | None = None
    train_loss: float | None = None
    train_images: _Count | None = None
    test_time_augmentation: str | None = None
    test_accuracy_of_views: _Share | None = None
    epochs: _Count | None = None
    parameters: _Count | None = None
    weights: str | None = None
    best_epoch: _Count | None = None
    monitor: str | None = None
    best_figure: float | None = None
    limited_by: str | None = None
    input_wait_share: float | None = None
    step_milliseconds: float | None = None
    median_images_per_second: float | None = None
    peak_memory_mib: float | None = None
    device_memory_mib: float | None = None
    run: str | None = None
    tables: dict[str, str] | None = None


class ModelRecord(msgspec.Struct):
    """The metadata of a run's `model.keras` and of its checkpoints.

    Attributes:
        run: see `RunRecord`.
        position: of a checkpoint: `Position`.
        tables: of a checkpoint: name of a table of the run -> the file's text when the state was saved.
    """

    run: str | None = None
    position: dict | None = None
    tables: dict[str, str] = {}
