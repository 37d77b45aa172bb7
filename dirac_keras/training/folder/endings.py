"""A run that ended without a number for its loss says so in its folder."""

from dirac_keras.files.atomic import write_text

DIVERGED = "diverged.txt"


def record_divergence(directory, error):
    """Write `diverged.txt`, bound to the run. Args: `RunDirectory`, the `TrainingDiverged`."""
    write_text(directory.path / DIVERGED, f"{error}\nrun: {directory.record().run}\n")


def forget_divergence(directory):
    """Remove `diverged.txt`: the run is trained on. Args: `RunDirectory`."""
    (directory.path / DIVERGED).unlink(missing_ok=True)
