"""The start page of /admin/: how the server is, what runs and what fails, and who sees it."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fl_server import gauges, health
from fl_server_core.audit import record_act
from fl_server_core.models import Notification, Training
from fl_server_core.models.act import ActCode
from tests.api.conftest import in_browser
from tests.factories import ModelFactory, NotificationFactory, TrainingFactory, UserFactory

PARTS = {
    "running": "view_training",
    "failed": "view_training",
    "queues": "view_training",
    "stored": "view_model",
    "failing": "view_notification",
    "acts": "view_act",
}


@pytest.fixture(autouse=True)
def told(monkeypatch):
    """What the checks tell; the gauges ask anew."""
    checks = {"database": "ok", "workers": "ok"}
    monkeypatch.setattr(health.READINESS, "outcome", lambda: checks)
    monkeypatch.setattr(gauges, "GAUGES", gauges.Gauges())
    return checks


@pytest.fixture
def operator(db):
    return in_browser(UserFactory(is_staff=True, is_superuser=True))


def run(number=1, **fields):
    """Make running trainings that each wait for two participants, of which one was lost."""
    users = UserFactory.create_batch(2)
    for _ in range(number):
        training = TrainingFactory(participants=users)
        since = {"phase_since": timezone.now() - timedelta(hours=3)}
        Training.objects.filter(pk=training.pk).update(
            **{"state": "O", "phase": "update", **since, **fields}
        )
        lost = {"state": "failed", "failed_at": timezone.now(), "error": "HTTP 500"}
        for user, what in zip(users, ({"state": "delivered"}, lost), strict=True):
            NotificationFactory(training=training, receiver=user, type="UPDATE_ROUND_START", **what)
    return training


def fail(number=1, **fields):
    for training in TrainingFactory.create_batch(number):
        Training.objects.filter(pk=training.pk).update(**{"state": "E", **fields})
    return training


def shown(browser):
    answer = browser.get("/admin/")
    assert answer.status_code == 200
    return answer.content.decode().replace("\xa0", " ")


def test_it_tells_whether_all_is_well(operator, told):
    assert "All is well" in shown(operator)
    told["workers"] = "no worker on rounds"
    assert "Something is wrong" in shown(operator)
    assert '<li class="bad"><b>workers</b> no worker on rounds</li>' in shown(operator)


def test_it_tells_what_running_trainings_wait_for(operator):
    training = run()
    page = shown(operator)
    assert "Running trainings: 1" in page
    assert f'<a href="/admin/fl_server_core/training/{training.pk}/change/">' in page
    assert "0 of 2</td>" in page
    assert "update of 1 participant</td>" in page
    assert ">3 hours</time>" in page


def test_those_that_wait_longest_come_first(operator):
    new, old = (run(phase_since=timezone.now() - timedelta(hours=age)) for age in (1, 9))
    page = shown(operator)
    assert page.index(str(old.pk)) < page.index(str(new.pk))


def test_it_tells_why_trainings_failed_of_late(operator):
    recent = fail(state_reason="<b>too few</b>")
    old = fail(last_update=timezone.now() - timedelta(days=8))
    stopped = fail(reason_code="stopped")
    page = shown(operator)
    assert str(stopped.pk) not in page
    assert str(recent.pk) in page
    assert "&lt;b&gt;too few&lt;/b&gt;" in page
    assert str(old.pk) not in page


def test_it_tells_which_endpoints_fail(operator):
    user = UserFactory(message_endpoint="http://client-01:8101/")
    NotificationFactory(receiver=user, state="failed", failed_at=timezone.now(), error="HTTP 500")
    NotificationFactory(receiver=user, deliveries=2, error="HTTP 500")
    NotificationFactory(receiver=user, state="withdrawn", failed_at=timezone.now())
    old = timezone.now() - timedelta(days=8)
    NotificationFactory(state="failed", failed_at=old)
    NotificationFactory(deliveries=1, state="delivered")
    rows = operator.get("/admin/").context["failing"]
    assert [(row["name"], row["lost"], row["tried"]) for row in rows] == [(user.username, 2, 1)]
    assert "http://client-01:8101/" in shown(operator)
    assert "HTTP 500" in shown(operator)


def test_it_tells_what_is_stored_and_what_waits(operator, monkeypatch):
    lengths = gauges._gauges("fl_queue_messages", "", "queue", {"rounds": 3, "notify": 0})
    monkeypatch.setitem(gauges.SOURCES, "broker", (lambda: [lengths],))
    ModelFactory(size=3 * 1024**2, file="x")
    NotificationFactory()
    page = shown(operator)
    assert "<b>models</b> 3.0 MB" in page
    assert "are free on the disk" in page
    assert "rounds 3, notify 0" in page
    assert "0 to be posted, 1 to be fetched" in page


def test_it_tells_when_nobody_sees_to_what_is_due(operator):
    assert "is beat running?" not in shown(operator)
    run(check_at=timezone.now() - timedelta(minutes=2))
    gauges.GAUGES._good_until = 0
    assert "A training has been due for 120 seconds: is beat running?" in shown(operator)


def test_a_broker_that_is_away_breaks_nothing(operator, monkeypatch):
    def away():
        raise OSError

    monkeypatch.setitem(gauges.SOURCES, "broker", (away,))
    assert "The broker doesn't tell its queues" in shown(operator).replace("&#x27;", "'")


def test_it_tells_what_was_done_whoever_did_it(operator):
    training, by = TrainingFactory(), UserFactory(username="ann")
    record_act(ActCode.TRAINING_STOPPED, training, by=by, name="model <1>")
    record_act(ActCode.TRAINING_FAILED, training)
    page = shown(operator)
    assert "It was stopped." in page
    assert "model &lt;1&gt;" in page
    assert "ann, 0 minutes ago" in page
    assert "the server, 0 minutes ago" in page


def test_it_costs_the_same_for_many(operator):
    def count():
        gauges.GAUGES._good_until = 0
        with CaptureQueriesContext(connection) as queries:
            shown(operator)
        return len(queries)

    run(2)
    fail(2)
    few = count()
    run(12)
    fail(12)
    clone(Notification.objects.last(), 500)
    assert count() == few
    assert few < 40  # of which the gauges ask half


def clone(row, number):
    """Store so many rows like it, under other rounds."""
    fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    del fields["id"]
    rows = (Notification(**fields | {"round": at}) for at in range(1, number + 1))
    Notification.objects.bulk_create(rows)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_for_who_may_see_its_rows(db, part):
    user = UserFactory(is_staff=True)
    assert part not in in_browser(user).get("/admin/").context
    user.user_permissions.set(Permission.objects.filter(codename=PARTS[part]))
    assert part in in_browser(user).get("/admin/").context


def test_staff_without_permissions_sees_whether_all_is_well_alone(db):
    training = run()
    fail()
    page = shown(in_browser(UserFactory(is_staff=True)))
    assert "All is well" in page
    for word in ("Running", "Failed", "Notifications", "Storage", str(training.pk), "Tasks"):
        assert word not in page


def test_others_are_sent_to_the_login(db):
    participant = run().participants.first()
    for browser in (Client(), in_browser(UserFactory()), in_browser(participant)):
        answer = browser.get("/admin/")
        assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/admin/")


def test_its_links_lead_to_the_rows_that_it_tells_of(operator):
    running, failed = run(), fail()
    leads = re.findall(r'href="(/admin/fl_server_core/[^"]*)"', shown(operator))
    pages = {path: operator.get(path.replace("&amp;", "&")) for path in leads}
    assert {page.status_code for page in pages.values()} == {200}
    found = {
        path: list(page.context["cl"].result_list) for path, page in pages.items() if "?" in path
    }
    trainings = "/admin/fl_server_core/training/?state__"
    assert found.pop(f"{trainings}in=O,S") == [running]
    assert found.pop(f"{trainings}exact=E") == [failed]
    lost = running.notifications.get(state="failed")
    assert list(found.values()) == [[lost], [lost]]
