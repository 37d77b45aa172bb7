"""Services that show trainings side by side: Weights & Biases, MLflow, trackio, behind one small interface."""

from dirac_keras.callbacks.trackers.callback import TrackerReport
from dirac_keras.callbacks.trackers.names import NAMES, NO_TRACKER, tracker_names
from dirac_keras.callbacks.trackers.tracker import TrackedRun, Tracker
from dirac_keras.callbacks.trackers.tracking import Tracking, open_tracking

__all__ = [
    "NAMES",
    "NO_TRACKER",
    "TrackedRun",
    "Tracker",
    "TrackerReport",
    "Tracking",
    "open_tracking",
    "tracker_names",
]
