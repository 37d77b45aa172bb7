"""The trials in TensorBoard's HParams dashboard."""

from dirac_keras.files.event_files import EventWriter
from tuning.oracles import COMPLETED

METRICS = {
    "val_accuracy": "score",
    "test_accuracy": "test_accuracy",
    "parameters": "parameters",
    "macs": "macs",
    "latency_ms": "latency_ms",
    "seconds": "seconds",
}


def write_experiment(folder, space, max_epochs):
    """What the dashboard offers to filter and sort by: hyperparameters with their domains, and metrics."""
    from tensorboard.plugins.hparams import summary_v2 as api  # `api` itself imports TensorFlow

    names = {"epochs": api.IntInterval(1, max_epochs)}
    for dimension in (*(d for dims in space.dimensions.values() for d in dims), *space.shared):
        listed = dimension.listed()
        if listed is None:
            names[dimension.name] = api.RealInterval(float(dimension.low), float(dimension.high))
        elif names.get(dimension.name) is None:
            names[dimension.name] = api.Discrete(list(listed)) if len({type(v) for v in listed}) == 1 else None
    if len(space.families) > 1:
        names["family"] = api.Discrete(list(space.families))
    config = api.hparams_config_pb(
        hparams=[api.HParam(name, domain) for name, domain in names.items()],
        metrics=[api.Metric(name) for name in METRICS],
    )
    with EventWriter(folder) as writer:
        writer.summary(config, 0)


def write_trial(folder, record):
    """One finished trial: its values and what it came to."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    if record["status"] != COMPLETED:
        return
    values = {name: value for name, value in record["values"].items() if not name.startswith("tuner/")}
    name = f"{record['trial']:04d}"
    with EventWriter(f"{folder}/{name}") as writer:
        writer.summary(hparams_pb({**values, "epochs": record["epochs"]}, trial_id=name), 0)
        for metric, key in METRICS.items():
            if record[key] is not None:
                writer.scalar(metric, record[key], record["epochs"])
