"""The data of a run, as they are on this machine: runs may have been trained on another."""


class NoData(Exception):
    """The data of a run cannot be read; the cause says why."""


def load(**arguments):
    """`pipelines.load_splits`. Raises: NoData: where `pipelines` says that the data cannot be read."""
    from pipelines import DataError, load_splits

    try:
        return load_splits(**arguments)
    except DataError as error:
        raise NoData from error


def splits_of_run(directory):
    """`pipelines.Splits` of a finished run's data. Raises: NoData."""
    return load(**directory.read_config().data_arguments())
