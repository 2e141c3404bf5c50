"""Who is told that there are messages, and when."""

import pytest
from django.db import transaction

from fl_server_core import news
from tests.factories import UserFactory


@pytest.fixture
def told(monkeypatch):
    """The users that each news names."""

    class Means:
        def tell(self, line):
            lines.append(line if line == news.EVERYBODY else set(line.decode().split()))

    lines = []
    monkeypatch.setattr(news, "means", Means)
    return lines


def test_the_receivers_of_messages_are_told_once_they_are_committed(
    move, training, participants, told, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        move("start")
        assert told == []
    assert told == 2 * [{user.pk.hex for user in participants}]  # the start, and the round


def test_who_is_asked_again_is_told_again(
    move, training, participants, told, update, sent, django_capture_on_commit_callbacks
):
    move("start")
    update(participants[0])
    with django_capture_on_commit_callbacks(execute=True):
        assert move("ask_again") == 1
    assert told == [{participants[1].pk.hex}]


def test_nobody_is_told_what_is_rolled_back(move, training, told, transactional_db):
    with transaction.atomic():
        move("start")
        transaction.set_rollback(True)
    assert told == []
    move("start")
    assert len(told) == 2


def test_many_receivers_are_one_piece_of_news(
    db, told, monkeypatch, sent, django_capture_on_commit_callbacks
):
    users = [user.pk for user in UserFactory.build_batch(2000)]
    with django_capture_on_commit_callbacks(execute=True):
        news.on_commit(users[: news.NAMED])
        news.on_commit(users)
        news.on_commit([])
    assert told == [{user.hex for user in users[: news.NAMED]}, news.EVERYBODY]
    line = " ".join(user.hex for user in users[: news.NAMED])
    assert len(line) < 4096  # what a pipe keeps in one piece


def test_a_broker_that_is_away_undoes_nothing(
    move, training, monkeypatch, sent, django_capture_on_commit_callbacks
):
    def fail(*_):
        raise ConnectionError

    monkeypatch.setattr(news, "means", fail)
    with django_capture_on_commit_callbacks(execute=True):
        move("start")
    assert training.notifications.pending().count() == 4
    assert ("dispatch", str(training.pk)) in sent
