"""A request takes as many queries with many rows as with few, whichever endpoint it goes to."""

import itertools
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fl_server_core.models import Metric, Model, Training, User
from fl_server_core.models.model import ModelKind
from tests.api.test_matrix import CALLERS, METRICS, ROWS, status, world  # noqa: F401 (a fixture)
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)

MANY = 10
"""Of each kind: one more query for each would show, and they fit into one statement."""

REPORT = ("POST", "models/{tested_model}/metrics/", "a test", METRICS)
ROUNDS = itertools.count(1)
REQUESTS = {"update": "UPDATE_ROUND_START", "swag": "SWAG_ROUND_START", "test": "MODEL_TEST_ROUND"}


@pytest.fixture
def tested(world):  # noqa: F811 (a fixture)
    """A training whose model is being tested; the world names its model."""
    running = Training.objects.get(model=world.names["running_model"])
    tested = TrainingFactory(actor=running.actor, participants=running.participants.all())
    Training.objects.filter(pk=tested.pk).update(state="O", phase="test")
    for user in running.participants.all():
        NotificationFactory(training=tested, receiver=user, type=REQUESTS["test"])
    world.names["tested_model"] = str(tested.model_id)
    return tested


def counted(world):  # noqa: F811
    """Return how many queries each valid request takes."""
    return {
        (method, path, note): count(world, method, path, body)
        for method, path, note, body in [*ROWS, REPORT]
        if not path.startswith("schema/")
    }


def count(world, method, path, body):  # noqa: F811
    for caller in CALLERS[2:]:
        with CaptureQueriesContext(connection) as queries:
            code = status(world, caller, method, path, body)
        if code < 400:
            return len(queries)
    raise AssertionError(f"nobody may {method} {path}")


def grow(world, many):  # noqa: F811
    """Add so many of whatever there is, to whom and to what there is."""
    trainings, users = list(Training.objects.all()), UserFactory.create_batch(many)
    for training, user in itertools.product(trainings, users):
        training.participants.add(user)
        if training.phase:
            told = {"training": training, "receiver": user, "attempt": training.attempt}
            NotificationFactory(**told)
            NotificationFactory(type=REQUESTS[training.phase], **told)
        LocalModelFactory(base_model=training.model, owner=user, round=1)
        metric = {"model": training.model, "reporter": user, "step": 0, "value_float": 1}
        Metric.objects.create(key="loss", attempt=training.attempt, **metric)
        version = training.model.checkpoints.create(round=next(ROUNDS), attempt=9, size=1)
        merged = {"base_model": training.model, "owner": user, "merged_into": version}
        LocalModelFactory(closed_at="2026-01-01T00:00Z", attempt=9, **merged)
    for caller in CALLERS[1:]:
        user = User.objects.get(pk=world.callers[caller].get("/api/users/myself/").json()["id"])
        for other in users:
            give(user, other)


def give(user, other):
    """Give a user one more of what users have; some of it is another's too."""
    ModelFactory(owner=user, kind=ModelKind.MEAN).members.set(Model.objects.all()[:3])
    TrainingFactory(actor=user, participants=[user, other])
    told = TrainingFactory(actor=other, participants=[user, other])
    NotificationFactory(receiver=user, training=told)
    Group.objects.create(name=str(uuid4())).user_set.add(user, other)


def test_it_is_the_same_for_many(world, tested, settings):  # noqa: F811
    settings.FL_STATS_WAIT_SECONDS = 0
    grow(world, 1)
    counted(world)  # what is asked once in a process is known then
    few = counted(world)
    grow(world, MANY)
    assert counted(world) == few
