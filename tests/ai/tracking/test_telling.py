"""What a tracker is told of a training: all of it, once, whatever happens on the way.

With `FL_TESTS_MLFLOW` most of these speak to a real MLflow.
"""

import threading
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from fl_server_ai import sweeper
from fl_server_ai.tracking import telling
from fl_server_ai.tracking.mlflow import MLflow
from fl_server_core.models import Metric, Tracking, Training
from tests.factories import TrainingFactory
from tests.servers import free_port

OPTIONS = {
    "round": {"quorum": 0.5, "deadline_seconds": 60},
    "mine": ["a", 1],
    "empty": {},
    "none": "",
}


@pytest.fixture
def played(training, move, play):
    """A training of two rounds that has come to its end."""
    Training.objects.filter(pk=training.pk).update(options={"mine": ["a", 1]})
    move("start")
    play(2, (0.25, 0.75))
    return training


def test_a_training_is_a_run_with_all_that_was_reported(mlflow, played, participants, tell):
    tell()
    run = mlflow.run()
    assert run["status"] == "FINISHED"
    assert run["end_time"] == int(played.last_update.timestamp() * 1000)
    points = mlflow.points()
    assert points["accuracy"] == [(1, 0.25), (2, 0.75)]
    for user in participants:
        assert points[f"accuracy/{user.username}"] == [(1, 0.25), (2, 0.75)]
    assert points["round/updates"] == [(1, 2.0), (2, 2.0)]
    assert [step for step, seconds in points["round/seconds"] if seconds > 0] == [1, 2]
    assert len(points) == 5


def test_a_run_says_what_it_is_about(mlflow, training, move, tell):
    Training.objects.filter(pk=training.pk).update(options=OPTIONS)
    training.model.sha256 = "ab" * 32
    training.model.save()
    move("start")
    tell()
    run = mlflow.run()
    assert run["status"] == "RUNNING"
    assert run["run_name"] == f"{training.model.name} {str(training.pk)[:8]}"
    assert run["params"] == {
        "aggregation": "FedAvg",
        "uncertainty": "NONE",
        "rounds": "2",
        "model_sha256": "ab" * 32,
        "options.round.quorum": "0.5",
        "options.round.deadline_seconds": "60",
        "options.mine": '["a", 1]',
        "options.empty": "{}",
        "options.none": "",
    }
    assert run["tags"]["fl.training"] == str(training.pk)
    assert run["tags"]["fl.model"] == str(training.model_id)
    assert run["tags"]["fl.actor"] == run["tags"]["mlflow.user"] == training.actor.username
    assert run["tags"]["fl.server"]


def test_each_version_can_be_found_again(mlflow, played, tell):
    tell()
    tags = mlflow.run()["tags"]
    versions = list(played.model.checkpoints.order_by("round"))
    assert [tags[f"fl.checkpoint.{version.round}"] for version in versions] == [
        f"sha256 {version.sha256} at /api/models/{played.model_id}/checkpoints/{version.pk}/"
        for version in versions
    ]
    assert (tags["fl.round"], tags["fl.attempt"]) == ("2", "0")


def test_a_round_is_told_when_its_test_has_ended(
    mlflow, training, participants, move, update, merge, report, tell
):
    move("start")
    for user in participants:
        update(user)
    merge()
    report(participants[0], 0.5)
    tell()
    assert mlflow.points() == {}, "it might still be replaced"
    report(participants[0], 0.25)
    report(participants[1], 0.75)
    tell()
    points = mlflow.points()
    assert points["accuracy"] == [(1, 0.5)]
    assert points[f"accuracy/{participants[0].username}"] == [(1, 0.25)]


def test_nothing_is_sent_where_nothing_is_new(standin, played, tell):
    tell()
    before = next(standin.requests)
    tell()
    assert next(standin.requests) == before + 1
    assert not Tracking.waiting().exists()


def test_what_was_told_while_it_was_down_is_told_once_it_is_up(
    mlflow, settings, training, move, play, long, tell
):
    up, down = settings.FL_MLFLOW_TRACKING_URI, f"http://127.0.0.1:{free_port()}"
    move("start")
    play(1, [0.1])
    tell()
    settings.FL_MLFLOW_TRACKING_URI = down
    for value in (0.2, 0.3):
        play(1, [value])
        tell()
    told = Tracking.objects.get()
    assert (told.failures, told.error) == (2, "No answer: ConnectionError.")
    settings.FL_MLFLOW_TRACKING_URI = up
    play(1, [0.4])
    tell()
    assert mlflow.points()["accuracy"] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    told.refresh_from_db()
    assert (told.failures, told.error) == (0, "")


@pytest.mark.parametrize("arrives", [True, False], ids=["after", "before"])
def test_a_worker_that_dies_at_any_call_leaves_nothing_out_and_nothing_twice(
    mlflow, settings, played, tell, monkeypatch, arrives
):
    class Killed(BaseException):
        pass

    send, experiment = MLflow._send, settings.FL_MLFLOW_EXPERIMENT
    left = 0

    def dies(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == 0 and arrives:
            send(*args, **kwargs)
        if left == 0:
            raise Killed
        return send(*args, **kwargs)

    tell()
    whole = mlflow.points()
    monkeypatch.setattr(MLflow, "_send", dies)
    for calls in range(1, 30):
        settings.FL_MLFLOW_EXPERIMENT = mlflow.experiment = f"{experiment} {calls}"
        Tracking.objects.all().delete()
        left = calls
        try:
            tell()
        except Killed:
            tell()
        assert mlflow.points() == whole
        assert mlflow.run()["status"] == "FINISHED"
        if left > 0:
            break
    assert 8 < calls < 29


def test_after_a_rollback_the_rounds_are_told_again_as_they_came(
    mlflow, training, move, play, back, long, tell
):
    move("start")
    play(2, (0.1, 0.2))
    tell()
    back(1)
    play(2, (0.8, 0.9))
    tell()
    assert mlflow.points()["accuracy"] == [(1, 0.1), (2, 0.2), (2, 0.8), (3, 0.9)]
    tags = mlflow.run()["tags"]
    assert (tags["fl.round"], tags["fl.attempt"]) == ("3", "1")
    present = training.model.checkpoints.get(round=2, attempt=1)
    assert str(present.pk) in tags["fl.checkpoint.2"]


def test_what_a_rollback_left_behind_is_told_where_it_belongs(
    mlflow, training, participants, move, play, back, long, tell
):
    move("start")
    play(2, (0.1, 0.2))
    back(1)
    play(1, (0.8,))
    tell()
    points = mlflow.points()
    assert points["accuracy"] == [(1, 0.1), (2, 0.2), (2, 0.8)]
    assert points[f"accuracy/{participants[0].username}"] == points["accuracy"]


def test_a_training_that_failed_says_why(mlflow, training, participants, move, play, long, tell):
    move("start")
    play(1)
    tell()
    move("remove_participants", participants)
    tell()
    run = mlflow.run()
    assert run["status"] == "FAILED"
    assert run["tags"]["fl.reason"] == "No participant is left."
    assert "end_time" in run


def test_one_that_was_stopped_was_killed_and_goes_on_when_it_is_resumed(
    mlflow, training, participants, move, update, merge, report, tell
):
    move("start")
    for user in participants:
        update(user)
    merge()
    report(participants[0], 0.5)
    move("stop")
    tell()
    run = mlflow.run()
    assert (run["status"], run["tags"]["fl.reason"]) == ("KILLED", "Stopped by its actor.")
    own = f"accuracy/{participants[0].username}"
    assert mlflow.points()[own] == [(1, 0.5)], "as far as it has come"
    move("resume")
    tell()
    assert mlflow.run()["status"] == "RUNNING"
    report(participants[1], 0.25)
    tell()
    points = mlflow.points()
    assert (points[own], points["accuracy"]) == ([(1, 0.5)], [(1, 0.375)])


def test_names_that_mlflow_refuses_are_changed_and_stay_apart(mlflow, played, participants, tell):
    names = ["a/b", "a@b", "a+b", "a//b", "/a", "../a", ".", "µ é", "a" * 255, "\n", "a:b"]
    version = played.model.checkpoints.get(round=1)
    for name in names:
        Metric.objects.create(
            model=played.model, step=1, key=name, reporter=participants[0], value_float=1
        )
    version.metric_means = dict.fromkeys(names, 1.0)
    version.save()
    tell()
    assert Tracking.objects.get().error == ""
    points = mlflow.points()
    assert len(points) == 2 * len(names) + 5
    assert f"a/b/{participants[0].username}" in points
    assert "µ é" in points


def test_what_is_no_number_is_left_out(mlflow, played, participants, tell):
    Metric.objects.create(
        model=played.model, step=1, key="note", reporter=participants[0], value_binary=b"nan"
    )
    tell()
    assert len(mlflow.points()) == 5


def test_many_points_are_sent_some_at_a_time(mlflow, played, participants, tell):
    Metric.objects.bulk_create(
        Metric(model=played.model, step=1, key=f"k{n}", reporter=participants[0], value_float=n)
        for n in range(1200)
    )
    tell()
    assert len(mlflow.run()["metrics"]) == 1205


def test_files_go_along_where_that_is_wanted(mlflow, settings, training, move, play, tell):
    settings.FL_MLFLOW_MODELS = True
    training.model.file = default_storage.save("uploaded", ContentFile(b"weights"))
    training.model.save()
    move("start")
    play(1)
    tell()
    assert mlflow.file("checkpoints/round-0.pt") == b"weights"
    told = Tracking.objects.get()
    assert (told.error, told.round) == ("", 1), "the file of round 1 is gone: no error"


def test_an_mlflow_that_takes_no_files_says_so(standin, settings, training, move, tell):
    settings.FL_MLFLOW_MODELS = True
    training.model.file = default_storage.save("uploaded", ContentFile(b"weights"))
    training.model.save()
    get = standin.runs_get

    def elsewhere(run_id):
        run = get(run_id)
        run["run"]["info"]["artifact_uri"] = "s3://bucket/run"
        return run

    standin.runs_get = elsewhere
    move("start")
    tell()
    move("stop")
    tell()
    assert "unset FL_MLFLOW_MODELS" in Tracking.objects.get().error


def test_no_file_does_unless_it_is(standin, training, move, play, tell):
    training.model.file = default_storage.save("uploaded", ContentFile(b"weights"))
    training.model.save()
    move("start")
    tell()
    assert standin.files == {}


def test_one_training_that_cannot_be_told_holds_up_no_other(standin, played, tell, monkeypatch):
    other = TrainingFactory(state="C")
    other.model.checkpoints.create(round=0, attempt=0, size=1)
    broken = TrainingFactory(state="C")  # it has no version
    tell()
    assert Tracking.objects.get(training=other).error == ""
    assert Tracking.objects.get(training=broken).error
    assert len(standin.runs) == 2


def test_a_long_story_is_told_in_turns(standin, training, move, play, tell, long, monkeypatch):
    monkeypatch.setattr(telling, "PER_TURN", 2)
    move("start")
    play(4)
    for number in (1, 3, 4):
        tell()
        assert Tracking.objects.get().round == number
    assert not Tracking.waiting().exists()


def test_one_that_somebody_else_tells_of_is_left_to_them(standin, played):
    Tracking.objects.create(training=played, due_at=timezone.now() + timedelta(minutes=1))
    telling.tell_all()
    assert standin.runs == {}


def test_one_that_has_not_begun_is_none_of_its_business(standin, training, tell):
    tell()
    assert not Tracking.objects.exists()


def test_one_that_is_removed_meanwhile_is_forgotten(standin, played, monkeypatch):
    send = MLflow._send

    def remove(*args, **kwargs):
        Training.objects.all().delete()
        return send(*args, **kwargs)

    monkeypatch.setattr(MLflow, "_send", remove)
    telling.tell_all()
    telling.tell_all()
    assert not Tracking.objects.exists()


# --- What goes wrong there --------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, {"error_code": "INTERNAL_ERROR", "message": "x" * 999}), "HTTP 500 INTERNAL_ERROR"),
        ((502, b"<html>"), "HTTP 502 Bad Gateway"),
        ((401, b"You are not authenticated."), "HTTP 401 Unauthorized"),
        ((302, b""), "HTTP 302 Found"),
        ((200, b"<html>"), "What answers isn't MLflow."),
        ((200, {}), "KeyError('experiment')"),
        ((None, b""), "No answer: ConnectionError."),
    ],
    ids=["500", "502", "401", "redirect", "html", "else", "hangs up"],
)
def test_what_is_no_good_answer_is_tried_again_ever_later(standin, played, tell, answer, words):
    standin.answer = lambda *_: answer
    pauses = []
    for _ in range(9):
        tell()
        told = Tracking.objects.get()
        pauses.append(round((told.due_at - timezone.now()).total_seconds()))
    assert told.error.startswith(words)
    assert len(told.error) < 300
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_one_that_takes_its_time_is_given_up_for_now(standin, played, tell, monkeypatch):
    monkeypatch.setattr("fl_server_ai.tracking.mlflow.SECONDS", (0.05, 0.05))
    wake = threading.Event()
    standin.answer = lambda *_: (wake.wait(10), (200, {}))[1]
    tell()
    wake.set()
    assert Tracking.objects.get().error == "No answer: ReadTimeout."


def test_no_word_of_it_holds_a_password(settings, played, tell, caplog):
    settings.FL_MLFLOW_TRACKING_URI = f"http://me:hidden@127.0.0.1:{free_port()}"
    tell()
    assert "its tracker isn't told now: No answer" in caplog.text
    assert "hidden" not in caplog.text + Tracking.objects.get().error


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"TOKEN": "t"}, "Bearer t"),
        ({"USERNAME": "u", "PASSWORD": "p"}, "Basic dTpw"),
        ({}, None),
    ],
    ids=["token", "password", "none"],
)
def test_it_is_asked_with_the_credentials_that_are_set(
    standin, settings, played, tell, given, header
):
    for name, value in given.items():
        setattr(settings, f"MLFLOW_TRACKING_{name}", value)
    answer, seen = standin.answer, set()

    def note(*request):
        seen.add(request[3].get("Authorization"))
        return answer(*request)

    standin.answer = note
    tell()
    assert seen == {header}


# --- Its thread -------------------------------------------------------------------------


@pytest.fixture
def begun(settings, monkeypatch):
    """Have telling only say that it has begun, and end when it is told to."""
    settings.FL_MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    begun, end, threads = threading.Semaphore(0), threading.Semaphore(0), []

    def tell_all():
        threads.append(threading.current_thread())
        begun.release()
        assert end.acquire(timeout=60)

    def finish():
        end.release()
        threads[-1].join(60)

    monkeypatch.setattr(telling, "tell_all", tell_all)
    begun.finish = finish
    return begun


def test_a_sweep_waits_for_no_tracker_and_begins_no_second_telling(db, begun):
    sweeper.sweep()
    assert begun.acquire(timeout=60)
    sweeper.sweep()
    assert not begun.acquire(timeout=0.1)
    begun.finish()
    sweeper.sweep()
    assert begun.acquire(timeout=60)
    begun.finish()


def test_a_telling_that_fails_is_logged_and_the_next_one_begins(db, begun, monkeypatch, caplog):
    monkeypatch.setattr(telling, "tell_all", lambda: 1 / 0)
    for _ in range(2):
        caplog.clear()
        telling.begin()
        for thread in threading.enumerate():
            if thread.name == "track":
                thread.join(60)
        assert "no telling now" in caplog.text


def test_without_a_tracker_there_is_no_thread(db, begun, settings):
    settings.FL_MLFLOW_TRACKING_URI = ""
    sweeper.sweep()
    assert not begun.acquire(timeout=0.05)
