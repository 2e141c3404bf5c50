import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from fl_server_ai.notification import delivery, outbox
from fl_server_ai.notification.bulkheads import Delivery
from fl_server_ai.notification.delivery import deliver
from fl_server_core.log_context import known_ids, log_context
from fl_server_core.models import Notification
from tests.ai.notification.conftest import silence
from tests.factories import NotificationFactory


@pytest.fixture
def started(move, training, participants):
    move("start")
    return training, participants[0]


def posted(endpoint):
    return [json.loads(body)["notification_type"] for body in endpoint.bodies]


def make_due():
    Notification.objects.filter(next_attempt_at__isnull=False).update(
        next_attempt_at=timezone.now() - timedelta(seconds=1)
    )


def test_messages_are_posted_in_order_and_once(started, endpoint):
    training, user = started
    endpoint.answer = 204
    deliver(training.pk, user.pk)
    deliver(training.pk, user.pk)
    assert posted(endpoint) == ["TRAINING_START", "UPDATE_ROUND_START"]
    assert not user.notifications.pending().exists()


def test_the_body_is_the_contracts(started, endpoint):
    training, user = started
    deliver(training.pk, user.pk)
    assert json.loads(endpoint.bodies[1]) == {
        "notification_type": "UPDATE_ROUND_START",
        "training_uuid": str(training.pk),
        "body": {"round": 0, "global_model_uuid": str(training.model_id)},
    }


def test_whoever_delivers_goes_on_with_the_ids_of_who_put_it_in_line(
    started, participants, endpoint
):
    training, seen = started[0], []
    endpoint.answer = lambda: seen.append(dict(known_ids())) or 200
    with log_context(request="r-1"):
        delivery.bulkheads.join(Delivery(training.pk, participants[1].pk))
    with log_context(request="r-2"):
        deliver(training.pk, participants[0].pk)
        assert known_ids() == {"request": "r-2"}
    assert {ids["request"] for ids in seen} == {"r-1", "r-2"}
    assert {ids["round"] for ids in seen} == {0}


def test_nothing_overtakes_a_message_that_could_not_be_delivered(started, endpoint):
    training, user = started
    endpoint.answer = silence
    deliver(training.pk, user.pk)
    deliver(training.pk, user.pk)
    assert posted(endpoint) == ["TRAINING_START"]


def test_an_unreachable_receiver_is_retried_after_growing_pauses(started, endpoint, settings):
    settings.FL_NOTIFY_RETRY_SECONDS = 10
    training, user = started
    endpoint.answer = silence
    second = timedelta(seconds=1)
    for pause in (10, 20, 40):
        make_due()
        begun = timezone.now()
        deliver(training.pk, user.pk)
        head = user.notifications.get(type="TRAINING_START")
        failed_at = head.next_attempt_at - pause * second
        assert begun - second < failed_at < timezone.now() + second
    assert head.error == "no answer in time"


def test_a_receiver_that_stays_away_is_lost_after_five_retries(started, endpoint):
    training, user = started
    endpoint.answer = silence
    user.notifications.get(type="TRAINING_START").delete()
    for _ in range(6):
        training.refresh_from_db()
        assert training.state == "O"
        make_due()
        deliver(training.pk, user.pk)
    training.refresh_from_db()
    assert training.state == "E"
    assert len(endpoint.bodies) == 6


def test_a_receiver_that_comes_back_goes_on_in_order(started, endpoint):
    training, user = started
    endpoint.answer = silence
    deliver(training.pk, user.pk)
    endpoint.answer = 200
    make_due()
    deliver(training.pk, user.pk)
    assert posted(endpoint) == ["TRAINING_START", "TRAINING_START", "UPDATE_ROUND_START"]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_status_to_a_round_call_removes_the_participant(started, endpoint, status):
    training, user = started
    endpoint.answer = status
    deliver(training.pk, user.pk)
    assert posted(endpoint) == ["TRAINING_START", "UPDATE_ROUND_START", "CLIENT_REMOVED"]
    assert not training.is_participant(user)


def test_somebody_who_fetches_is_never_posted_to(training, participants, move, endpoint):
    user = participants[0]
    user.message_endpoint = ""
    user.save()
    move("start")
    deliver(training.pk, user.pk)
    assert not endpoint.bodies
    assert user.notifications.pending().count() == 2


def test_of_two_workers_one_gets_the_message(started):
    training, user = started
    first = outbox.claim_next(training.pk, user.pk)
    assert first is not None
    assert outbox.claim_next(training.pk, user.pk) is None


def test_a_message_of_a_worker_that_died_is_posted_again(started, endpoint):
    training, user = started
    outbox.claim_next(training.pk, user.pk)
    make_due()
    deliver(training.pk, user.pk)
    assert posted(endpoint)[0] == "TRAINING_START"


def test_delivering_for_a_training_that_is_gone_does_nothing(db, endpoint):
    deliver(uuid.uuid4(), uuid.uuid4())
    assert not endpoint.bodies


def test_an_endpoint_that_can_not_be_parsed_counts_as_unreachable(started):
    training, user = started
    user.message_endpoint = "http://[bad/"
    user.save()
    deliver(training.pk, user.pk)
    assert user.notifications.get(type="TRAINING_START").error


def test_a_broker_that_is_down_does_not_undo_the_request(
    training, move, monkeypatch, django_capture_on_commit_callbacks
):
    def fail(*args):
        raise ConnectionError

    monkeypatch.setattr("fl_server_ai.enqueue.send", fail)
    with django_capture_on_commit_callbacks(execute=True):
        move("start")
    assert training.state == "O"
    assert training.notifications.pending().count() == 4


# --- Promptness ---------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """What `time.monotonic` says to those who measure an answer, in a list."""
    now = [0.0]
    monkeypatch.setattr(outbox.time, "monotonic", lambda: now[0])
    return now


def is_prompt(user):
    user.refresh_from_db()
    return user.answers_promptly


def test_who_answers_within_a_second_is_prompt_and_who_takes_longer_is_not(
    started, endpoint, clock
):
    training, user = started
    deliver(training.pk, user.pk)
    assert is_prompt(user)

    def dawdle():
        clock[0] += 1.5
        return 200

    endpoint.answer = dawdle
    user.notifications.all().send_again()
    deliver(training.pk, user.pk)
    assert not is_prompt(user)
    assert not user.notifications.pending().exists()


def test_a_refusal_is_an_answer_and_silence_is_none(started, endpoint):
    training, user = started
    endpoint.answer = 500
    deliver(training.pk, user.pk)
    assert is_prompt(user)
    user.notifications.filter(type="CLIENT_REMOVED").send_again()
    endpoint.answer = silence
    deliver(training.pk, user.pk)
    assert not is_prompt(user)


def test_who_is_told_by_one_training_is_prompt_for_all(started, endpoint, monkeypatch):
    training, user = started
    deliver(training.pk, user.pk)
    joined = []
    monkeypatch.setattr(delivery.bulkheads, "join", joined.append)
    deliver(uuid.uuid4(), user.pk)
    assert [(one.prompt, one.address) for one in joined] == [(True, "client.test:80")]


def test_what_waits_in_line_is_posted_by_who_makes_room(started, participants, endpoint):
    training, first = started
    second = participants[1]
    delivery.bulkheads.join(Delivery(training.pk, second.pk))
    deliver(training.pk, first.pk)
    assert not training.notifications.pending().exists()
    assert len(endpoint.bodies) == 4


def test_a_delivery_that_fails_gives_its_place_back(started, monkeypatch):
    training, user = started

    def fail(_):
        raise OperationalError

    monkeypatch.setattr(outbox, "post", fail)
    with pytest.raises(OperationalError):
        deliver(training.pk, user.pk)
    assert not delivery.bulkheads._taken


@pytest.fixture
def thread(monkeypatch):
    """The only one that delivers: several would find SQLite's tables in memory locked."""
    with ThreadPoolExecutor(1) as thread:
        monkeypatch.setattr(delivery, "threads", thread)
        yield thread


@pytest.mark.django_db(transaction=True)
def test_what_is_due_is_delivered_in_a_thread(started, participants, endpoint, thread):
    training, _ = started
    delivery.dispatch(training.pk)
    thread.shutdown()
    assert not training.notifications.pending().exists()
    assert len(endpoint.bodies) == 2 * len(participants)


@pytest.mark.django_db(transaction=True)
def test_a_thread_that_fails_leaves_its_message_due_and_goes_on(
    started, participants, endpoint, thread, monkeypatch, caplog
):
    training, failing = started
    claim = outbox.claim_next

    def claim_or_fail(training_id, receiver_id):
        if receiver_id == failing.pk:
            raise OperationalError
        return claim(training_id, receiver_id)

    monkeypatch.setattr(outbox, "claim_next", claim_or_fail)
    delivery.dispatch(training.pk)
    thread.shutdown()
    assert f"no delivery to user {failing.pk} now" in caplog.text
    assert not participants[1].notifications.pending().exists()
    assert failing.notifications.due().count() == 2
    assert not delivery.bulkheads._taken


def test_what_failed_at_an_endpoint_that_is_gone_waits_to_be_fetched(db):
    message = NotificationFactory(deliveries=1)
    outbox.retry_later(message, "ConnectionError")
    message.refresh_from_db()
    assert message.next_attempt_at is None
