"""A training to move on by hand, and what it tells the workers."""

import uuid

import pytest

from fl_server_ai import hints
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.files import StoredFile
from tests.factories import TrainingFactory, UserFactory


@pytest.fixture
def sent(monkeypatch):
    """The hints that would have gone to the broker, as (task, ids…)."""
    messages = []
    monkeypatch.setattr(hints, "send", lambda task, *args: messages.append((task, *args)))
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
        file = StoredFile(name=str(uuid.uuid4()), sha256=sha256 or uuid.uuid4().hex, size=1)
        return move(
            "receive_update",
            owner=user,
            round=training.model.round if round is None else round,
            sample_size=sample_size,
            file=file,
            metrics=metrics,
        )

    return call


@pytest.fixture
def report(move, training):
    """Report a metric on the global model: `report(user)`."""
    return lambda user: move(
        "receive_metrics", model=training.model, reporter=user, metrics=[("accuracy", "0.5")]
    )


@pytest.fixture
def merge(move, training):
    """Merge the present round, with any file."""

    def call():
        claim = move("claim_merge", training.model.round, training.attempt)
        move("complete_merge", claim, StoredFile(str(uuid.uuid4()), "0" * 64, 1))

    return call
