"""Whose mistake an exception in a trial is: the candidate's, which has no result then, or another's.

| the candidate's: the trial has failed | another's: the search stops, and the trial is open again |
|---|---|
| its loss or accuracy is NaN | the disk: full, read-only, unreadable, no permission, too many open files |
| its network cannot be built | the data: absent, damaged |
| the memory of machine or device does not suffice for it | the device: lost, its driver, its libraries |
| its folded network is another | files in its folder that are not this run's; anything unknown |

A candidate's mistake is final, so what is not known to be one is none.
"""

import errno
import os
import re

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.errors import RunError, UserError
from dirac_keras.failures import is_of_framework, is_out_of_memory
from dirac_keras.models.family import is_of_file
from dirac_keras.training.building import build_model
from dirac_keras.training.limits import check_size

# TensorFlow reports a full disk and too many open files as a resource that is exhausted, as it does memory.
_OF_THE_SYSTEM = tuple(
    os.strerror(getattr(errno, name))
    for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENODEV", "ESTALE", "EFBIG")
    if hasattr(errno, name)
)


class TrialFailed(RunError):
    """A trial has no result, for the reason that is the message."""


def why_candidate_failed(error, config, spec, max_gigabytes=None):
    """The reason why a trial has no result, if that is its candidate's mistake.

    Args:
        error: exception that its training or folding has raised.
        config: `TrainConfig`.
        spec: data spec of the images.
        max_gigabytes: of `check_size`.

    Returns: text; None if it is another's mistake.
    """
    if isinstance(error, TrialFailed):
        return str(error)
    if isinstance(error, TrainingDiverged):
        return f"diverged: {error}"
    if is_of_the_system(error):
        return None
    if is_out_of_memory(error):
        return f"out of memory: {first_line(error)}"
    return _why_not_built(config, spec, max_gigabytes)


def is_of_the_system(error):
    """Whether an error, or what caused it, is one of the disk, of files or of devices."""
    while error is not None:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            return True
        if any(words in str(error) for words in _OF_THE_SYSTEM):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def first_line(error):
    """The first line of what an error says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def stopped_by(error, number, folder):
    """The `RunError` that stops a search for an error that is not its candidate's; the error itself if it is a fault
    of this software, which deserves its traceback.

    Args:
        error: exception.
        number: int, of the trial.
        folder: path of the trial's runs.
    """
    is_known = isinstance(error, (OSError, UserError, RuntimeError, MemoryError)) or _is_of_data(error)
    if not is_known and not is_of_framework(error) and not is_of_the_system(error):
        return error
    text, way_out = _without_advice(error), "once that is mended"
    if str(folder) in text and not is_of_the_system(error):
        way_out = f"restore its folder, or delete {folder} to train it again; then"
    return RunError(
        f"Trial {number} cannot go on, and that is not its fault: {text}. It is open again: {way_out} start the same "
        "search again to resume it."
    )


def _without_advice(error):
    """What an error says, without what it advises on a run's `workdir` or `overwrite`: here, these are the search's."""
    text = " ".join(str(error).split()) if isinstance(error, UserError) else first_line(error)
    sentences = re.split(r"(?<=[.:!?]) (?=[A-Z])", text)
    kept = [sentence for sentence in sentences if not re.search("`(workdir|overwrite)", sentence)]
    return " ".join(" ".join(kept or sentences[:1]).split()).rstrip(".:")


def _is_of_data(error):
    from pipelines import DataError

    return isinstance(error, DataError)


def _why_not_built(config, spec, max_gigabytes):
    """Why there is no such network; None if there is one."""
    try:
        check_size(config, spec, max_gigabytes)
        build_model(config, spec)
    except (UserError, ValueError, TypeError, OverflowError) as error:
        is_of_all = is_of_file(config)  # the network of a file is the same in every trial
        return None if is_of_the_system(error) or is_of_all else f"cannot be built: {first_line(error)}"
    except Exception as error:
        return f"out of memory: {first_line(error)}" if is_out_of_memory(error) else None
    return None
