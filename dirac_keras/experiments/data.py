"""The data of a run, as they are on this machine: runs may have been trained on another."""

import contextlib


class NoData(Exception):
    """The data of a run cannot be read; the cause says why."""


@contextlib.contextmanager
def as_no_data():
    """What `pipelines` says of data that cannot be read becomes `NoData`, which other errors are not."""
    from pipelines import DataError

    try:
        yield
    except DataError as error:
        raise NoData from error


def splits_of_run(directory):
    """`pipelines.Splits` of a finished run's data. Raises: NoData."""
    from pipelines import load_splits

    with as_no_data():
        return load_splits(**directory.read_config().data_arguments())
