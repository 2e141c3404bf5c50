from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server_ai import tasks
from fl_server_ai.notification import outbox
from fl_server_core.models import Notification
from fl_server_core.models.notification import NotificationState, NotificationType
from tests.factories import ModelFactory, NotificationFactory, TrainingFactory

DONE = {"type": "UPDATE_ROUND_START", "state": "delivered"}


@pytest.fixture
def training(db):
    """In its third round, under its second attempt."""
    return TrainingFactory(model=ModelFactory(round=2), attempt=1, state="O")


@pytest.fixture
def told(training, settings):
    """Make a call that is older than calls are kept: `told(round=0)`."""
    settings.FL_KEEP_NOTIFICATION_DAYS = 7

    def call(*, days=8, **fields):
        row = NotificationFactory(training=training, **{"attempt": 1, **DONE, **fields})
        past = timezone.now() - timedelta(days=days)
        Notification.objects.filter(pk=row.pk).update(created_at=past)

    return call


def is_forgotten():
    assert Notification.objects.count() == 1
    tasks.remove_orphaned_files()
    return not Notification.objects.exists()


@pytest.mark.parametrize("state", sorted({*NotificationState} - {NotificationState.PENDING}))
def test_a_settled_call_is_forgotten(told, state):
    told(round=0, state=state)
    assert is_forgotten()


def test_one_that_is_still_to_be_delivered_stays(told):
    told(round=0, state=NotificationState.PENDING)
    assert not is_forgotten()


@pytest.mark.parametrize("type", NotificationType)
def test_whatever_else_has_been_said_stays(told, type):
    told(round=0, type=type)
    assert is_forgotten() == (type in ("UPDATE_ROUND_START", "SWAG_ROUND_START"))


@pytest.mark.parametrize(
    ("round", "attempt", "forgotten"),
    [(0, 1, True), (1, 1, False), (2, 1, False), (2, 0, True)],
)
def test_the_last_two_rounds_stay_and_no_earlier_attempt(told, round, attempt, forgotten):
    told(round=round, attempt=attempt)
    assert is_forgotten() == forgotten


@pytest.mark.parametrize(("days", "kept"), [(6, True), (8, False)])
def test_they_stay_for_a_while(told, days, kept):
    told(round=0, days=days)
    assert is_forgotten() != kept


def test_they_stay_for_good_where_that_is_wanted(told, settings):
    settings.FL_KEEP_NOTIFICATION_DAYS = 0
    told(round=0, days=10_000)
    assert not is_forgotten()


def test_many_go_some_at_a_time(told, monkeypatch):
    monkeypatch.setattr(outbox, "FORGOTTEN", 2)
    for _ in range(5):
        told(round=0)
    told(round=2)
    outbox.forget_spent()
    assert Notification.objects.get().round == 2
