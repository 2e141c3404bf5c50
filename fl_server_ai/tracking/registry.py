"""Which experiment trackers there are; each is told where its setting names one."""

from collections.abc import Callable

from django.conf import settings

from fl_server_ai.tracking.mlflow import MLflow
from fl_server_ai.tracking.tracker import Tracker

TRACKERS: dict[str, Callable[[str], Tracker]] = {"FL_MLFLOW_TRACKING_URI": MLflow}
"""By the setting with its address. A training is told to one of them."""


def is_wanted() -> bool:
    """Tell whether there is a tracker."""
    return any(getattr(settings, name) for name in TRACKERS)


def find_tracker() -> Tracker | None:
    """Return the tracker that the settings name."""
    for name, make in TRACKERS.items():
        if address := getattr(settings, name):
            return make(address)
    return None
