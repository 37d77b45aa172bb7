"""Run by test_distribution.py in a process of its own, whose CPU is two devices: prints what it found as JSON."""

import json

import keras
import numpy as np

from dirac_keras.distribution import Placement, open_strategy, split_cpu

split_cpu(2)

from dirac_keras import training  # noqa: E402
from dirac_keras.config import TrainConfig  # noqa: E402
from pipelines import load_splits  # noqa: E402

NETWORKS = {
    "diracnet": {"depth": 10, "width": 0.25},
    "plainnet": {"depth": 3, "units": 32, "recipe": "plainnet"},
    "van": {"kind": "dense", "depth": 4, "units": 16, "recipe": "van_dense"},
}
ONE = Placement("one")


def prepared(place, config, splits):
    return training._model_in_place(config, splits, "float32", place)


def trained(place, config, splits, steps):
    model = prepared(place, config, splits)
    model.fit(
        place.train_data(splits),
        epochs=2,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=training._callbacks_of_family(config),
    )
    return model


def difference(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return max(float(np.max(np.abs(a - b), initial=0)) for a, b in pairs)


def refused(function):
    try:
        function()
    except ValueError as error:
        return str(error)
    return "nothing"


def main():
    place = open_strategy("auto")
    found = {"auto": place.name, "replicas": place.num_replicas, "networks": {}, "tests": {}}
    for name, options in NETWORKS.items():
        config = TrainConfig(
            data="digits", family=name, max_train=256, batch_size=64, learning_rate=0.01, epochs=2, **options
        )
        splits = load_splits("digits", batch_size=64, max_train=256)
        one, two = trained(ONE, config, splits, 4), trained(place, config, splits, 4)
        found["networks"][name] = {"weights": difference(one, two), "between": place.replica_difference(two)}
    for count in (1, 3, 5, 129):
        test = load_splits("digits", batch_size=128, max_test=count).test
        expected = one.evaluate(test(), verbose=0, return_dict=True)
        got = two.evaluate(place.test_data(test()), verbose=0, return_dict=True)
        found["tests"][count] = [expected["accuracy"], got["accuracy"], expected["loss"], got["loss"]]

    # A copy without synchronised statistics: what the difference would be, and that it is seen.
    with place.scope():
        alone = training.untrained_model(config, splits.spec, "float32")
        training.compile_model(alone, config, 4)
    alone.fit(place.train_data(splits), epochs=1, steps_per_epoch=4, verbose=0)
    found["unsynchronized_between"] = place.replica_difference(alone)

    def clipped():
        with place.scope():
            model = training.untrained_model(config, splits.spec, "float32")
            model.compile(keras.optimizers.SGD(clipnorm=1.0), "mse")
        place.prepare(model)

    found["clipped"] = refused(clipped)
    found["late"] = refused(lambda: split_cpu(3))  # the same number again would be no mistake
    found["uneven"] = refused(lambda: place.check_batch(33))
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main()
