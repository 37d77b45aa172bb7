"""The trials in TensorBoard's HParams dashboard."""

from dirac_keras.callbacks.tensorboard import writes_events
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
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    names = {"epochs": api.IntInterval(1, max_epochs)}
    for dimension in (*(d for dims in space.dimensions.values() for d in dims), *space.shared):
        listed = dimension.listed()
        if listed is None:
            names[dimension.name] = api.RealInterval(float(dimension.low), float(dimension.high))
        elif names.get(dimension.name) is None:
            names[dimension.name] = api.Discrete(list(listed)) if len({type(v) for v in listed}) == 1 else None
    if len(space.families) > 1:
        names["family"] = api.Discrete(list(space.families))
    with writes_events(str(folder)), tf.summary.create_file_writer(str(folder)).as_default():
        api.hparams_config(
            hparams=[api.HParam(name, domain) for name, domain in names.items()],
            metrics=[api.Metric(name) for name in METRICS],
        )


def write_trial(folder, record):
    """One finished trial: its values and what it came to."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    if record["status"] != COMPLETED:
        return
    values = {name: value for name, value in record["values"].items() if not name.startswith("tuner/")}
    name = f"{record['trial']:04d}"
    with writes_events(str(folder)), tf.summary.create_file_writer(f"{folder}/{name}").as_default():
        api.hparams({**values, "epochs": record["epochs"]}, trial_id=name)
        for metric, key in METRICS.items():
            if record[key] is not None:
                tf.summary.scalar(metric, record[key], step=record["epochs"])
