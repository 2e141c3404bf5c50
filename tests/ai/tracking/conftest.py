"""A tracker, the real one or what stands in for it, and how far a training is told to it."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server_ai.tracking import telling
from fl_server_core.models import Tracking
from tests.mlflow import REAL, Told, standing_in


@pytest.fixture
def mlflow(settings):
    """What it has been told; its experiment is this test's."""
    settings.FL_MLFLOW_EXPERIMENT = f"tests {uuid.uuid4()}"
    if REAL:
        settings.FL_MLFLOW_TRACKING_URI = REAL
        with Told(REAL, settings.FL_MLFLOW_EXPERIMENT) as told:
            yield told
    else:
        with standing_in() as (url, _), Told(url, settings.FL_MLFLOW_EXPERIMENT) as told:
            settings.FL_MLFLOW_TRACKING_URI = url
            yield told


@pytest.fixture
def standin(settings):
    """What stands in for it, to have it fail."""
    with standing_in() as (url, standin):
        settings.FL_MLFLOW_TRACKING_URI = url
        yield standin


@pytest.fixture
def tell():
    """Tell what there is to tell, however long that was to wait."""

    def call():
        Tracking.objects.update(due_at=timezone.now() - timedelta(seconds=1))
        telling.tell_all()

    return call
