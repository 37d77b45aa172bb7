"""The trackers by name, and a choice of several of them as one text."""

import dataclasses

from dirac_keras.errors import UserError

NO_TRACKER = "none"
NAMES = ("wandb", "mlflow", "trackio")


def tracker_names(text):
    """`"wandb,mlflow"` as `("wandb", "mlflow")`; `"none"` as `()`.

    Raises: UserError: for a name that is not known, or there twice.
    """
    names = [part.strip() for part in text.split(",")] if isinstance(text, str) else [text]
    if names == [NO_TRACKER]:
        return ()
    unknown = [name for name in names if name not in NAMES]
    if unknown or len(set(names)) < len(names):
        raise UserError(
            f"tracker must be {NO_TRACKER}, or of {', '.join(NAMES)} one or several joined by commas. "
            f"Received tracker={text!r}."
        )
    return tuple(names)


@dataclasses.dataclass(frozen=True)
class TrackerNames:
    """The check of a field that names trackers, see `training.checks`."""

    def check(self, name, value):
        """Raise UserError unless `value` fits."""
        tracker_names(value)
