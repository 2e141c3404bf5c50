"""`/trainings/` and `/trainings/<id>/`: who sees what, and that looking on costs little."""

import json
import re
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fl_server_api.pages.curves import read_charts
from fl_server_api.pages.training_view import TrainingView
from fl_server_core.models import Checkpoint, Metric, Training
from tests.api.browsing import browser_of, text_of
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)

UPDATE, TEST = "UPDATE_ROUND_START", "MODEL_TEST_ROUND"


@pytest.fixture
def actor(db):
    return UserFactory(username="ada")


@pytest.fixture
def running(actor):
    """A training in its round 2, with two versions and a participant who never answers."""
    people = [UserFactory(username=name) for name in ("anna", "ben")]
    model = ModelFactory(owner=actor, name="digits", round=2, sha256="cc" * 32, size=10)
    training = TrainingFactory(
        actor=actor,
        model=model,
        participants=people,
        state="O",
        phase="update",
        target_num_updates=4,
        phase_since=timezone.now(),
        metric_names=["accuracy"],
    )
    for number in range(3):
        play(training, people, number)
    return training


def play(training, people, number):
    """Have a round and its version: the first answers, the second is missed."""
    kept = {"model": training.model, "round": number, "attempt": 0, "size": 10, "file": "x"}
    sha256 = "cc" * 32 if number == 2 else f"{number:064}"
    means = {"accuracy": 0.5} if number else None
    version = Checkpoint.objects.create(**kept, sha256=sha256, metric_means=means)
    call = {"training": training, "type": UPDATE, "round": number}
    NotificationFactory(receiver=people[0], state="delivered", **call)
    NotificationFactory(receiver=people[1], state="missed" if number < 2 else "pending", **call)
    if number:
        Metric.objects.create(
            model=training.model, step=number, reporter=people[0], key="accuracy", value_float=0.5
        )
        LocalModelFactory(
            base_model=training.model,
            owner=people[0],
            round=number - 1,
            size=7,
            merged_into=version,
            closed_at=timezone.now(),
        )


def page(training, **query):
    return browser_of(training.actor).get(f"/trainings/{training.pk}/", query)


def counted(browser, path, **headers):
    with CaptureQueriesContext(connection) as queries:
        answer = browser.get(path, headers=headers)
    return answer, len(queries)


# --- The list -----------------------------------------------------------------------


def test_the_list_has_ones_own_trainings_alone(actor):
    own, joined = TrainingFactory(actor=actor), TrainingFactory(participants=[actor])
    others = TrainingFactory()
    content = browser_of(actor).get("/trainings/").content.decode()
    assert f"/trainings/{own.pk}/" in content
    assert f"/trainings/{joined.pk}/" in content
    assert str(others.pk) not in content


def test_staff_who_may_view_trainings_see_all(running):
    staff = UserFactory(is_staff=True)
    assert "digits" not in text_of(browser_of(staff).get("/trainings/"))
    staff.user_permissions.add(Permission.objects.get(codename="view_training"))
    assert "digits" in text_of(browser_of(staff).get("/trainings/"))
    assert browser_of(staff).get(f"/trainings/{running.pk}/").status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["one", "two"]),
        ({"name": "ON"}, ["one"]),
        ({"state": "C"}, ["two"]),
        ({"state": "C", "name": "one"}, []),
        ({"state": "?", "page": "x", "name": ""}, ["one", "two"]),
        ({"name": "\0"}, ["one", "two"]),
    ],
)
def test_the_list_is_searched(actor, query, found):
    for name, state in (("one", "I"), ("two", "C")):
        model = ModelFactory(owner=actor, name=name)
        TrainingFactory(actor=actor, model=model, state=state)
    shown = browser_of(actor).get("/trainings/", query).context["page"]
    assert sorted(training.model.name for training in shown) == found


def test_the_list_comes_in_pages_at_the_same_cost(actor):
    browser, people = browser_of(actor), UserFactory.create_batch(2)
    TrainingFactory(actor=actor)
    _, few = counted(browser, "/trainings/")
    TrainingFactory.create_batch(51, actor=actor, participants=people)
    answer, many = counted(browser, "/trainings/?state=I")
    assert many == few
    assert "1 to 50 of 52" in text_of(answer)
    assert "?state=I&amp;page=2" in answer.content.decode()
    assert len(browser.get("/trainings/?page=2").context["page"]) == 2


# --- Who sees a training ------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "live/", "orders/stop/"])
def test_nobody_else_learns_that_there_is_a_training(running, path):
    stranger = browser_of(UserFactory(is_staff=True))
    assert stranger.get(f"/trainings/{running.pk}/{path}").status_code == 404
    assert stranger.post(f"/trainings/{running.pk}/orders/stop/").status_code == 404
    unknown = stranger.get(f"/trainings/{running.model_id}/{path}")
    assert (unknown.status_code, "Not found" in text_of(unknown)) == (404, True)


@pytest.mark.parametrize("path", ["", "new/", "{}/", "{}/live/", "{}/orders/stop/"])
def test_one_signs_in_first_and_comes_back(running, path):
    asked = f"/trainings/{path.format(running.pk)}"
    answer = Client().get(asked)
    assert (answer.status_code, answer["Location"]) == (302, f"/api-auth/login/?next={asked}")


def test_a_participant_sees_it_with_no_orders_but_its_own(running):
    anna = running.participants.get(username="anna")
    running.options = {"managed_by": "actor"}
    running.save()
    content = browser_of(anna).get(f"/trainings/{running.pk}/").content.decode()
    assert "digits" in content
    assert re.findall(r"orders/(\w+)/\?participants=([\w-]+)", content) == [
        ("remove", str(anna.pk))
    ]
    assert re.findall(r"orders/(\w+)/\"", content) == []


def test_signing_in_is_a_page_of_ours_and_leads_back(actor):
    browser = Client()
    page = browser.get("/api-auth/login/?next=/trainings/")
    assert 'name="next" value="/trainings/"' in page.content.decode()
    form = {"username": "ada", "password": "wrong", "next": "/trainings/"}
    assert "correct username and password" in text_of(browser.post("/api-auth/login/", form))
    answer = browser.post("/api-auth/login/", form | {"password": "secret"})
    assert (answer.status_code, answer["Location"]) == (302, "/trainings/")
    assert 'name="next" value="/"' in Client().get("/api-auth/login/").content.decode()


# --- What the page says -------------------------------------------------------------


def test_it_says_what_is_awaited_of_whom(running):
    text = text_of(page(running))
    assert "Participants train the model 2 of 4 rounds done" in text
    assert "Answers 0 of 2" in text
    assert "Waiting for anna ben" in text
    assert "Deadline none" in text


def test_it_says_that_a_merge_is_under_way(running):
    running.claimed_until = timezone.now() + timezone.timedelta(minutes=1)
    running.save()
    assert "The server merges what has come" in text_of(page(running))


def test_of_a_failed_training_it_says_why_and_what_to_do(running):
    call = running.notifications.get(round=2, receiver__username="ben")
    call.state, call.failed_at, call.error = "failed", timezone.now(), "HTTP 500 at 10.0.0.1"
    call.save()
    reason = {"state": "E", "reason_code": "quorum_missed", "state_reason": "Round 2: only 1."}
    Training.objects.filter(pk=running.pk).update(**reason)
    answer = page(running)
    text = text_of(answer)
    assert "Ended in an error" in text
    assert "Round 2: only 1. What to do: See that those who failed can be reached" in text
    assert "ben : refused" in text
    assert f"orders/remove/?participants={call.receiver_id}" in answer.content.decode()
    assert "10.0.0.1" not in text
    assert "Resume" in text


def test_the_grid_has_what_became_of_each_call(running):
    ben = running.participants.get(username="ben")
    late = {"base_model": running.model, "owner": ben, "round": 1}
    LocalModelFactory(**late, closed_at=timezone.now())
    for state, extra in (("failed", {"error": "x"}), ("withdrawn", {"error": "HTTP 400"})):
        user = UserFactory(username=f"gone-{state}")
        sent = {"training": running, "receiver": user, "type": TEST, "round": 2, "state": state}
        NotificationFactory(**sent, failed_at=timezone.now(), **extra)
    grid = page(running).context["view"].grid
    marks = {row.name: [cell.mark.name for cell in row.cells] for row in grid.rows}
    assert marks == {
        "ben": ["missed", "late", "awaited"],
        "gone-failed": ["none", "lost", "none"],
        "gone-withdrawn": ["none", "refused", "none"],
        "anna": ["arrived", "arrived", "awaited"],
    }
    assert next(iter(marks)) == "ben"  # who has most trouble
    assert [row.takes_part for row in grid.rows] == [True, False, False, True]
    assert "metrics: Its client refused the call" in text_of(page(running))


def test_the_gravest_of_a_rounds_calls_is_its_sign(running):
    anna = running.participants.get(username="anna")
    sent = {"training": running, "receiver": anna, "type": TEST, "round": 1}
    NotificationFactory(**sent, state="missed")
    [cells] = [row.cells for row in page(running).context["view"].grid.rows if row.name == "anna"]
    assert cells[0].mark.name == "late"  # her metrics are there all the same
    assert cells[0].words == "update: arrived; metrics: came too late to count"


def test_people_and_rounds_come_in_pages(running):
    running.participants.add(*UserFactory.create_batch(30))
    Training.objects.filter(pk=running.pk).update(target_num_updates=50)
    type(running.model).objects.filter(pk=running.model_id).update(round=30)
    first = page(running, people="1").context["view"]
    assert (len(first.grid.rows), first.window.rounds) == (25, range(11, 31))
    answer = page(running, people="2", until=first.window.older)
    assert (len(answer.context["view"].grid.rows), answer.context["view"].window.rounds) == (
        7,
        range(11),
    )
    assert f"/trainings/{running.pk}/live/?people=2&amp;until=10" in answer.content.decode()
    assert page(running, until="x", people="y", versions="z").status_code == 200


def test_metrics_are_curves_and_a_table(running):
    answer = page(running)
    [data] = re.findall(r'<script id="curves-0"[^>]*>(.*?)</script>', answer.content.decode())
    assert json.loads(data) == {
        "name": "accuracy",
        "rounds": [1, 2],
        "curves": [
            {"name": "mean", "values": [0.5, 0.5], "of_all": True},
            {"name": "anna", "values": [0.5, 0.5], "of_all": False},
        ],
    }
    assert "accuracy as a table Round mean anna 2 0.5 0.5 1 0.5 0.5" in text_of(answer)


def test_the_weighted_mean_is_beside_the_plain_one_where_it_is_known(running):
    Checkpoint.objects.filter(round=2).update(weighted_means={"accuracy": 0.75})
    told = text_of(page(running))
    assert "Round mean weighted mean anna 2 0.5 0.75 0.5 1 0.5 \N{EN DASH} 0.5" in told


def test_rounds_say_how_long_and_how_much(running):
    newest, *_, first = page(running).context["view"].rounds
    assert (newest.number, newest.asked, newest.updates, newest.merged) == (2, 2, 0, None)
    assert (first.number, first.asked, first.updates, first.update_bytes) == (0, 2, 1, 7)
    assert first.version_bytes == 10
    assert first.handed_in is not None


def test_versions_say_what_made_them_and_who_is_missing(running):
    text = text_of(page(running))
    assert "without ben : The round went on without it." in text
    assert "what the actor uploaded" in text
    [present] = [v for v in page(running).context["view"].versions.shown if v.is_present]
    assert (present.checkpoint.round, present.updates, present.missing) == (2, 1, 1)


def test_a_version_whose_calls_are_deleted_says_so(running):
    running.notifications.all().delete()
    text = text_of(page(running))
    assert "1 update who was asked is no longer kept" in text
    assert "without ben" not in text


def test_a_phase_from_outside_has_words_too(running):
    running.phase = "vote"
    assert TrainingView.phase.fget(SimpleNamespace(training=running)) == (
        "Participants are asked for vote"
    )


def test_names_are_text(running):
    UserFactory(username="<script>alert(1)</script>")
    evil = "<script>alert(2)</script>"
    running.participants.add(UserFactory(username=evil))
    running.model.name = running.state_reason = running.metric_names[0] = evil
    running.options = {"</script>": evil}
    running.model.save()
    running.save()
    Metric.objects.update(key=evil)
    Checkpoint.objects.exclude(metric_means=None).update(metric_means={evil: 1})
    for path in ("/", "/trainings/", "/trainings/new/", f"/trainings/{running.pk}/"):
        content = browser_of(running.actor).get(path).content.decode()
        assert "<script>alert" not in content, path


def test_a_training_that_has_not_begun_has_a_page(actor):
    training = TrainingFactory(actor=actor, model=ModelFactory(owner=actor, name=""))
    text = text_of(page(training))
    assert "initial Not started yet 0 of 2 rounds done Start" in text
    assert "Nobody takes part yet." in text


# --- What looking on costs ----------------------------------------------------------


def test_nothing_new_costs_little(running, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)  # every so often the page is new by itself
    anna = browser_of(running.participants.get(username="anna"))
    path = f"/trainings/{running.pk}/live/"
    tag = anna.get(path)["ETag"]
    answer, queries = counted(anna, path, if_none_match=tag)
    assert (answer.status_code, answer.content) == (304, b"")
    assert queries <= 6


@pytest.mark.parametrize("change", ["answer", "call", "participant", "state", "time"])
def test_whatever_changes_makes_the_page_new(running, change, monkeypatch):
    browser, path = browser_of(running.actor), f"/trainings/{running.pk}/live/"
    monkeypatch.setattr("time.time", lambda: 1e9)
    tag = browser.get(path)["ETag"]
    if change == "answer":
        Training.objects.filter(pk=running.pk).update(last_update=timezone.now())
    elif change == "call":
        running.notifications.filter(state="pending").deliver()
    elif change == "participant":
        running.participants.add(UserFactory())
    elif change == "state":
        Training.objects.filter(pk=running.pk).update(state="E")
    else:
        monkeypatch.setattr("time.time", lambda: 1e9 + 31)
    answer = browser.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer["ETag"] != tag


def test_the_page_takes_as_many_queries_for_many_as_for_few(running):
    browser, path = browser_of(running.actor), f"/trainings/{running.pk}/live/"
    people = list(running.participants.order_by("username"))
    fail(running, 1)
    _, few = counted(browser, path)
    fail(running, 20)
    running.model.round = 9
    running.model.save()
    for number in range(3, 10):
        play(running, people, number)
    _, many = counted(browser, path)
    assert many == few


def fail(training, many):
    """Have so many more take part, and be reached in none of the rounds."""
    more = UserFactory.create_batch(many)
    training.participants.add(*more)
    for number in range(3):
        for user in more:
            call = {"training": training, "type": UPDATE, "round": number, "receiver": user}
            NotificationFactory(**call, state="failed", failed_at=timezone.now(), error="x")


def test_what_is_live_has_the_page_tag_and_no_frame(running):
    whole = page(running).content.decode()
    answer = browser_of(running.actor).get(f"/trainings/{running.pk}/live/")
    assert "<html" not in answer.content.decode()
    assert answer["Cache-Control"] == "private, no-cache"
    assert answer["ETag"].replace('"', "&quot;") in whole


def test_thousands_of_metrics_do_not_hold_the_page_up(running):
    """The names that are drawn are few, and nothing is read of the others."""
    reporter = running.participants.get(username="anna")
    names = [f"m{number}" for number in range(1000)]
    for step in (1, 2):
        row = {"model": running.model, "step": step, "reporter": reporter, "value_float": 0.25}
        Metric.objects.bulk_create(Metric(key=name, **row) for name in names)
    running.model.checkpoints.update(metric_means=dict.fromkeys(["accuracy", *names], 0.5))
    people = {reporter.pk: "anna"}
    with CaptureQueriesContext(
        connection,
    ) as seen:
        charts = read_charts(running, people)
    assert [chart.name for chart in charts] == ["accuracy", "m0", "m1", "m10", "m100", "m101"]
    assert all(len(chart.rounds) in (2, 3) for chart in charts)
    [own] = [query["sql"] for query in seen if '"reporter_id" IN' in query["sql"]]
    assert '"key" IN' in own
