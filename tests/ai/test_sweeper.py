from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from fl_server_ai import sweeper
from fl_server_ai.notification import delivery
from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.trainer import ENQUEUED_LOST
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.training import LOOK_AGAIN
from tests.factories import TrainingFactory


@pytest.fixture
def started(move, training, participants):
    move("start")
    return training, participants[0]


def test_the_sweeper_starts_each_due_delivery_once(started, participants, sent):
    training, _ = started
    sweeper.sweep()
    assert sorted(sent) == sorted(
        ("deliver", str(training.pk), str(user.pk)) for user in participants
    )


def test_a_sweep_starts_so_many_and_the_prompt_and_the_oldest_first(
    started, participants, sent, monkeypatch
):
    training, prompt = started
    other = TrainingFactory(participants=participants)
    with ModelTrainer.locked(other.pk) as trainer:
        trainer.start()
    User.objects.filter(pk=prompt.pk).update(answers_promptly=True)
    other.notifications.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
    monkeypatch.setattr(delivery, "SWEPT", 3)
    sweeper.sweep()
    slow = participants[1]
    pairs = [(other, prompt), (training, prompt), (other, slow)]
    assert sent == [("deliver", str(t.pk), str(user.pk)) for t, user in pairs]


def test_one_training_that_fails_the_sweeper_holds_up_no_other(started, monkeypatch, caplog):
    training, _ = started
    other = TrainingFactory(state="O")
    Training.objects.update(check_at=None)
    training.notifications.all().delete()  # now nobody is asked, so that there is something to do
    seen = []

    def advance(trainer):
        seen.append(trainer.training.pk)
        if trainer.training.pk == training.pk:
            raise ValueError("broken")

    monkeypatch.setattr(ModelTrainer, "advance", advance)
    sweeper.sweep()
    assert set(seen) == {training.pk, other.pk}
    assert f"training {training.pk} can't be checked" in caplog.text


def test_a_locked_database_ends_the_sweep(started, monkeypatch):
    for _ in range(2):
        TrainingFactory(state="O")
    tried = []

    def advance(trainer):
        tried.append(trainer)
        raise OperationalError("database is locked")

    monkeypatch.setattr(ModelTrainer, "advance", advance)
    with pytest.raises(OperationalError):
        sweeper.sweep()
    assert len(tried) == 1


def test_whoever_is_gone_without_a_word_is_missed_in_a_minute(started, participants, later):
    training, _ = started
    User.objects.filter(pk__in=[user.pk for user in participants]).delete()
    sweeper.sweep()
    later(LOOK_AGAIN)
    sweeper.sweep()
    training.refresh_from_db()
    assert training.state_reason == "No participant is left."


def test_a_training_is_checked_when_its_deadline_passes(started, overdue, later):
    training, _ = started
    deadline = timezone.now() + timedelta(seconds=10)
    Training.objects.update(deadline=deadline, options={"round": {"deadline_seconds": 10}})
    Training.objects.all().postpone()
    training.refresh_from_db()
    assert training.check_at == deadline
    overdue()
    later(timedelta(seconds=10))
    sweeper.sweep()
    training.refresh_from_db()
    assert training.attempt == 1


def test_a_training_that_only_waits_is_not_locked(started, monkeypatch, later):
    monkeypatch.setattr(ModelTrainer, "locked", None)
    later(LOOK_AGAIN)
    sweeper.sweep()
    assert not Training.objects.due().exists()


def test_the_sweeper_leaves_alone_what_is_not_due(started, sent):
    Notification.objects.update(next_attempt_at=timezone.now() + timedelta(minutes=1))
    sweeper.sweep()
    assert sent == []


def test_the_sweeper_asks_again_for_a_merge_whose_task_was_lost(
    started, participants, update, sent, later, django_capture_on_commit_callbacks
):
    training, _ = started
    for user in participants:
        update(user)
    Notification.objects.all().deliver()
    with django_capture_on_commit_callbacks(execute=True):
        sweeper.sweep()
        assert sent == [], "the task may still come"
        later(ENQUEUED_LOST)
        sweeper.sweep()
    assert sent == [("merge_round", str(training.pk), 0, 0)]
    assert not Training.objects.due().exists()


def test_the_sweeper_leaves_a_claimed_merge_alone_until_its_lease_is_over(
    started, participants, update, move, sent, later, django_capture_on_commit_callbacks
):
    training, _ = started
    for user in participants:
        update(user)
    Notification.objects.all().deliver()
    move("claim_merge", 0, 0)
    later(ENQUEUED_LOST)
    with django_capture_on_commit_callbacks(execute=True):
        sweeper.sweep()
    assert sent == []
    type(training).objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    with django_capture_on_commit_callbacks(execute=True):
        sweeper.sweep()
    assert sent == [("merge_round", str(training.pk), 0, 0)]
