"""What each option of a training gives on a small dense network: accuracy over seeds, beside the recipe without it.

`KERAS_BACKEND=jax python -m benchmarks.training_options` (JAX trains the seeds as one program). Each line is the
recipe `quick` with one thing changed; docs/training-options.md has what it prints.
"""

import argparse
import dataclasses
import datetime
import pathlib
import statistics
import tempfile

from rich.console import Console

from dirac_keras.training import TrainConfig, train, train_seeds
from dirac_keras.training.folder.directory import machine
from pipelines import load_splits

NETWORK = {"data": "digits", "layout": "dense", "depth": 8, "units": 64, "batch_size": 64, "precision": "float32"}
OPTIONS = {
    "recipe quick: sgd, one_cycle, smoothing 0.05": {},
    "optimizer muon": {"optimizer": "muon", "muon_learning_rate": 0.1},
    "optimizer adamw, rate 0.005": {"optimizer": "adamw", "learning_rate": 0.005, "weight_decay": 0.05},
    "optimizer adamw, rate 0.01, its default": {"optimizer": "adamw"},
    "optimizer adamw, rate 0.02": {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.0125},
    "optimizer lion, rate 0.001": {"optimizer": "lion", "learning_rate": 0.001, "weight_decay": 0.5},
    "optimizer lion, rate 0.003, its default": {"optimizer": "lion"},
    "optimizer lion, rate 0.01": {"optimizer": "lion", "learning_rate": 0.01, "weight_decay": 0.05},
    "schedule cosine": {"schedule": "cosine"},
    "schedule step": {"schedule": "step", "decay_epochs": (5, 8), "decay_factor": 0.2},
    "schedule exponential": {"schedule": "exponential"},
    "schedule constant": {"schedule": "constant"},
    "clip-norm 1": {"clip_norm": 1.0},
    "accumulate-steps 2, batch-size 32": {"accumulate_steps": 2, "batch_size": 32},
    "label-smoothing 0": {"label_smoothing": 0.0},
    "loss focal": {"loss": "focal", "label_smoothing": 0.0},
    "class-weights balanced": {"class_weights": "balanced"},
    "early-stopping 3, validation 0.1": {"early_stopping": 3, "validation": 0.1},
    "keep-best, validation 0.1": {"keep_best": True, "validation": 0.1},
    "validation 0.1 alone": {"validation": 0.1},
}
QUIET = Console(quiet=True)
ALONE = ("class_weights", "early_stopping", "keep_best")  # options whose seeds are no one program


def run(config, seeds, folder):
    """`TrainResult` of each seed."""
    configs = [dataclasses.replace(config, seed=seed) for seed in seeds]
    splits = [load_splits(**one.data_arguments()) for one in configs]
    folders = [folder / str(seed) for seed in seeds]
    if any(getattr(config, name) for name in ALONE):
        return [train(*each, console=QUIET) for each in zip(configs, splits, folders, strict=True)]
    return train_seeds(config, splits, folders, seeds, console=QUIET)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="Options whose names hold this.")
    options = parser.parse_args()
    print(
        f"{machine()}, {datetime.date.today()}; digits, dense DiracNet of 8 layers of 64 units, {options.epochs} epochs"
    )
    print("| option | test accuracy, mean | least to largest | epochs |\n|---|---|---|---|")
    for name, fields in OPTIONS.items():
        if options.only not in name:
            continue
        config = TrainConfig(**{"recipe": "quick", "epochs": options.epochs, **NETWORK, **fields})
        with tempfile.TemporaryDirectory() as folder:
            results = run(config, tuple(range(options.seeds)), pathlib.Path(folder))
        found = [100 * result.summary["test_accuracy"] for result in results]
        epochs = ", ".join(str(result.summary["epochs"]) for result in results)
        print(
            f"| {name} | {statistics.fmean(found):.2f} | {min(found):.2f} to {max(found):.2f} | {epochs} |", flush=True
        )


if __name__ == "__main__":
    main()
