"""Run as a program, where TensorFlow cannot be imported: reads every kind of data set, and prints what it has found.

    python -m tests.pipelines.without_tensorflow FOLDER

FOLDER is one of `tests/pipelines/test_without_tensorflow.py`.
"""

import json
import os
import sys

REFUSED = ("tensorflow", "tensorflow_datasets")


class Refuse:
    """A finder for `sys.meta_path` that says that there is no TensorFlow."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def main(folder):
    sys.meta_path.insert(0, Refuse())
    assert os.environ["KERAS_BACKEND"] != "tensorflow"
    import numpy as np

    import pipelines
    from pipelines.readers import archives, coil20, usps

    archives.BATCH_RECORDS, archives.COUNTS = 4, {"train": 20, "test": 6}
    usps.COUNTS = {"usps.bz2": 3, "usps.t.bz2": 2}
    coil20.OBJECTS, coil20.POSES, coil20.SIDE, coil20.DEFAULT_SIZE = 2, 5, 8, (4, 4)
    found = {}
    for name, options in {
        "digits": {"validation": 0.1},
        "mnist": {},
        "cifar10": {"validation": 4},
        "usps": {},
        "coil20": {},
        "imagenet2012": {"image_size": 48},
        f"folder:{folder}/photos": {"image_size": 24, "on_broken": "skip"},
    }.items():
        splits = pipelines.load_splits(name, batch_size=2, data_dir=folder, **options)
        batches = [splits.train()[k] for k in range(3)] + list(splits.test())
        assert all(np.isfinite(images).all() for images, _ in batches)
        found[name.partition(":")[0]] = {
            "reader": splits.reader,
            "spec": splits.spec.to_dict(),
            "test": [float(images.astype(np.float64).sum()) for images, _ in splits.test()],
            "labels": np.concatenate([labels for _, labels in splits.test()]).tolist(),
            "found": splits.found(),
        }
    try:
        pipelines.load_splits("digits", reader="tensorflow")
    except pipelines.DataError as error:
        found["refused"] = str(error)
    assert not any(name.partition(".")[0] in REFUSED for name in sys.modules)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
