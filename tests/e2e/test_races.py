"""Calls at the same moment: each round advances once, nobody is told anything twice."""

from collections import Counter
from functools import partial

import pytest
import torch

from tests.e2e.crowd import at_once, listening
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of, weight_of
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

ROUNDS = 50
CROWD = 32


@pytest.fixture(scope="module")
def mail():
    with listening() as (url, mailboxes):
        yield url, mailboxes


@pytest.fixture(scope="module")
def crowd(server, mail):
    """Users whose messages are pushed to them."""
    return [Person(server, endpoint=f"{mail[0]}/{number}") for number in range(CROWD)]


@pytest.fixture
def mailboxes(mail):
    return mail[1]


def test_two_last_answers_at_once_advance_the_round_exactly_once(server):
    actor, first, second = Person(server), Person(server), Person(server)
    model = actor.upload_model(scripted(0.0))
    training = actor.open_training(model, [first, second], ROUNDS)
    actor.start(training)
    for number in range(ROUNDS):
        for person in (first, second):
            person.await_notification("UPDATE_ROUND_START", number)
        updates = [update_of(float(number + add)) for add in (0, 2)]
        at_once(
            partial(first.update, model, number, updates[0], expect=201),
            partial(second.update, model, number, updates[1], expect=201),
        )
        for person in (first, second):
            person.await_notification("MODEL_TEST_ROUND", number + 1)
        at_once(partial(first.report, model), partial(second.report, model))
    for person in (actor, first, second):
        person.await_notification("TRAINING_FINISHED")
    for person in (first, second):
        seen = [(item["notification_type"], item["body"].get("round")) for item in person.seen]
        assert seen == steps(ROUNDS)
    result = weight_of(actor.ask("GET", f"/models/{model}/"))
    assert torch.equal(result, torch.full((1, 2), float(ROUNDS)))
    assert actor.ask("GET", f"/trainings/{training}/")["state"] == "C"


def steps(rounds):
    """Return all that a participant is told, in order."""
    told = [("TRAINING_START", None)]
    for number in range(rounds):
        told += [("UPDATE_ROUND_START", number), ("MODEL_TEST_ROUND", number + 1)]
    return [*told, ("TRAINING_FINISHED", None)]


def test_a_crowd_that_answers_at_once_is_counted_once(crowd, mailboxes):
    actor = crowd[0]
    model = actor.upload_model(scripted(0.0))
    training = actor.open_training(model, crowd, 2)
    actor.start(training)
    for number in range(2):
        mailboxes.await_all(crowd, training, ("UPDATE_ROUND_START", number))
        sent = [update_of(float(number + person)) for person in range(CROWD)]
        calls = zip(crowd, sent, strict=True)
        at_once(*(partial(p.update, model, number, file, expect=201) for p, file in calls))
        mailboxes.await_all(crowd, training, ("MODEL_TEST_ROUND", number + 1))
        at_once(*(partial(person.report, model) for person in crowd))
    mailboxes.await_all(crowd, training, ("TRAINING_FINISHED", None))
    for person in crowd:
        assert mailboxes.seen(person, training) == Counter(steps(2))
    mean = 1 + (CROWD - 1) / 2
    merged = weight_of(actor.ask("GET", f"/models/{model}/"))
    # One counted twice, or not at all, would change it by about one in a thousand or more.
    assert torch.allclose(merged, torch.full((1, 2), float(mean)), rtol=1e-6)


def test_a_start_pressed_by_many_starts_once(crowd, mailboxes):
    actor, people = crowd[0], crowd[:8]
    training = actor.open_training(actor.upload_model(scripted(0.0)), people, 1)
    path = f"{actor.url}/api/trainings/{training}/start/"
    answers = at_once(*(partial(person.session.post, path, timeout=PATIENCE) for person in people))
    assert sorted(answer.status_code for answer in answers) == [202] + [400] * 7
    refusals = [answer.json() for answer in answers if answer.status_code == 400]
    assert refusals == [{"detail": f"Training {training} is not in state INITIAL!"}] * 7
    mailboxes.await_all(people, training, ("UPDATE_ROUND_START", 0))
    for person in people:
        assert mailboxes.seen(person, training) == Counter(steps(1)[:2])


@pytest.mark.parametrize("removed_one_answers", [False, True])
def test_a_removal_against_the_last_update_ends_the_round_once(
    crowd, mailboxes, removed_one_answers
):
    actor, first, last, removed = crowd[:4]
    model = actor.upload_model(scripted(0.0))
    for _ in range(10):
        training = actor.open_training(model, [first, last, removed], 1)
        used = actor.ask("GET", f"/trainings/{training}/")["model"]
        actor.start(training)
        mailboxes.await_all([first, last, removed], training, ("UPDATE_ROUND_START", 0))
        first.update(used, 0, update_of(1.0))
        if removed_one_answers:
            last.update(used, 0, update_of(3.0))
            uploads = [partial(status_of_update, removed, used)]
        else:
            uploads = [partial(last.update, used, 0, update_of(3.0), expect=201)]
        form = {"clients": [removed.id]}
        remove = partial(actor.ask, "DELETE", f"/trainings/{training}/clients/", json=form)
        answer, _ = at_once(*uploads, remove)
        assert not removed_one_answers or answer in (201, 403)
        mailboxes.await_all([first, last], training, ("MODEL_TEST_ROUND", 1))
        at_once(partial(first.report, used), partial(last.report, used))
        mailboxes.await_all([first, last], training, ("TRAINING_FINISHED", None))
        mailboxes.await_all([removed], training, ("CLIENT_REMOVED", None))
        for person in (first, last):
            assert mailboxes.seen(person, training) == Counter(steps(1))
        told = mailboxes.seen(removed, training)
        assert set(told.values()) == {1}
        assert ("TRAINING_FINISHED", None) not in told


def status_of_update(person, model):
    form, files = {"round": 0, "sample_size": 1}, {"model_file": update_of(5.0)}
    path = f"{person.url}/api/models/{model}/"
    return person.session.post(path, data=form, files=files, timeout=PATIENCE).status_code
