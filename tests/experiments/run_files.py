"""The small files of a run that has ended, as `train` leaves them, without a training."""

import json

from dirac_keras.files.records import sealed
from dirac_keras.files.tables import write_table
from dirac_keras.training.folder import tables as run_tables
from dirac_keras.training.folder.directory import RunDirectory

SPEC = {"name": "cifar10", "num_train": 50_000, "num_test": 10_000}


def write_ended(folder, config, test_accuracy, train_accuracy=None, version=None, spec=SPEC, **record):
    """Write config.json, metrics.csv, summary.json and a model.keras of no content.

    Args:
        folder: `pathlib.Path`.
        config: `TrainConfig`.
        test_accuracy, train_accuracy: shares.
        version: of dirac_keras; None: this one.
        record: other fields of config.json.

    Returns: `RunDirectory`.
    """
    directory = RunDirectory(folder)
    directory.create(config, spec, "float32", {"backend": "jax", "reader": "numpy"})
    found = json.loads(directory.config.read_text())
    del found["checksum"]
    found |= {"started": "2026-11-27T12:00:00+00:00", "machine": "a machine, 2 cores", "device": None, **record}
    if version is not None:
        found["versions"]["dirac_keras"] = version
    directory.config.write_text(json.dumps(sealed(found)))
    write_table(directory.metrics, [{"epoch": epoch + 1, "accuracy": 0.5} for epoch in range(config.epochs)])
    summary = {"test_accuracy": test_accuracy, "epochs": config.epochs, "parameters": 1000}
    summary |= {} if train_accuracy is None else {"train_accuracy": train_accuracy}
    tables = run_tables.digests(folder)
    directory.summary.write_text(json.dumps(sealed({**summary, "run": found["run"], "tables": tables})))
    directory.model.touch()
    return directory
