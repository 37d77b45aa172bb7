"""`python -m benchmarks.config_walk`: which files a config passes in one small training, and how often one returns.

Counted are calls of functions of `dirac_keras` that receive the config, or an object that holds it as `config`; the
methods of the config itself are no journey.
"""

import dataclasses
import itertools
import pathlib
import sys
import tempfile

import dirac_keras
from dirac_keras import TrainConfig
from dirac_keras.training import train
from pipelines import load_splits

ROOT = str(pathlib.Path(dirac_keras.__file__).parent)


def walk(config):
    """The files in the order in which a training of `config` enters them, as paths below the package."""
    visits = []

    def holds(value):
        return value is config or (dataclasses.is_dataclass(value) and getattr(value, "config", None) is config)

    def note(frame, event, argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT) or code.co_name.startswith("<"):
            return
        path = code.co_filename[len(ROOT) + 1 :]
        is_given = any(holds(frame.f_locals.get(name)) for name in code.co_varnames[: code.co_argcount])
        is_config = path.startswith(("training/config.py", "training/fields/"))
        if is_given and not is_config and visits[-1:] != [path]:
            visits.append(path)

    splits = load_splits(**config.data_arguments())
    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(note)
        try:
            train(config, splits, pathlib.Path(folder) / "run")
        finally:
            sys.setprofile(None)
    return visits


def main():
    config = TrainConfig(data="digits", depth=10, width=0.25, epochs=1, max_train=256, max_test=64)
    visits = walk(config)
    returns = sum(path in visits[:place] for place, path in enumerate(visits))
    wings = [path.split("/")[0] for path in visits]
    changes = sum(wing != other for wing, other in itertools.pairwise(wings))
    print(f"{len({*visits})} files, {len(visits) - 1} moves, {returns} returns to a file left before, "
          f"{changes} changes of the wing")  # fmt: skip
    print(" > ".join(visits))


if __name__ == "__main__":
    main()
