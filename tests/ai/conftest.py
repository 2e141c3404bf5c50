"""A training to move on by hand, and what it tells the workers."""

import uuid
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from fl_server_ai import enqueue
from fl_server_ai.notification import delivery
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.files import StoredFile
from fl_server_core.models import Training
from tests.factories import TrainingFactory, UserFactory


def told(user, **filters):
    """Return the types and rounds of a user's messages, delivered or not, in order."""
    messages = user.notifications.standing().filter(**filters).order_by("sequence")
    return [(message.type, message.body.get("round")) for message in messages]


def any_file(name="", sha256=""):
    """Return what stands for a stored file; there is none."""
    return StoredFile(name or str(uuid.uuid4()), sha256 or uuid.uuid4().hex, 1)


@pytest.fixture(autouse=True)
def _no_deliveries(monkeypatch):
    """Have no thread deliver what a sweep finds: it would outlive the test."""
    monkeypatch.setattr(delivery.threads, "submit", lambda *_: None)


@pytest.fixture
def sent(monkeypatch):
    """The tasks and deliveries that would have been started, as (task, ids…)."""
    messages = []
    monkeypatch.setattr(enqueue, "send", lambda task, *args: messages.append((task, *args)))
    deliver = lambda _run, _deliver, *ids: messages.append(("deliver", *map(str, ids)))  # noqa: E731
    monkeypatch.setattr(delivery.threads, "submit", deliver)
    return messages


@pytest.fixture
def participants(db):
    return UserFactory.create_batch(2, message_endpoint="http://client.test/")


@pytest.fixture
def training(participants):
    return TrainingFactory(participants=participants, target_num_updates=2)


@pytest.fixture
def move(training):
    """Call a transition under the training's lock: `move("start")`."""

    def call(method, *args, **kwargs):
        with ModelTrainer.locked(training.pk) as trainer:
            result = getattr(trainer, method)(*args, **kwargs)
        training.refresh_from_db()
        training.model.refresh_from_db()
        return result

    return call


@pytest.fixture
def update(move, training):
    """Hand in an update: `update(user)`."""

    def call(user, *, round=None, sha256="", sample_size=1, metrics=()):
        return move(
            "receive_update",
            owner=user,
            round=training.model.round if round is None else round,
            sample_size=sample_size,
            file=any_file(sha256=sha256),
            metrics=metrics,
        )

    return call


@pytest.fixture
def report(move, training):
    """Report a metric on the global model: `report(user)`."""
    return lambda user, value=0.5: move(
        "receive_metrics", model=training.model, reporter=user, metrics=[("accuracy", value)]
    )


@pytest.fixture
def overdue(training):
    """Let the present phase's deadline pass; the sweeper will see that."""

    def call():
        changed = Training.objects.filter(pk=training.pk, deadline__gt=timezone.now()).update(
            deadline=timezone.now() - timedelta(seconds=1)
        )
        assert changed, "there is no deadline to come"

    return call


@pytest.fixture
def later(db):
    """Let time pass for the sweeper: `later(timedelta(seconds=2))`."""
    return lambda pause: Training.objects.update(check_at=F("check_at") - pause)


@pytest.fixture
def merge(move, training):
    """Merge the present round, with any file."""

    def call():
        claim = move("claim_merge", training.model.round, training.attempt)
        move("complete_merge", claim, any_file())

    return call


@pytest.fixture
def play(training, participants, update, report, merge):
    """Play whole rounds: `play(2)`; the metric is what is given per round."""

    def call(rounds, values=(0.5,) * 20):
        for value in values[:rounds]:
            for user in participants:
                update(user)
            merge()
            for user in participants:
                report(user, value)

    return call


@pytest.fixture
def long(training):
    training.target_num_updates = 20
    training.save()
    return training


@pytest.fixture
def back(training, move):
    """Go back to the last version of a round."""

    def call(round):
        move("roll_back", training.model.checkpoints.filter(round=round).last().pk)

    return call
