"""A tracker that hangs, and a worker that is killed while it tells it something."""

import os
import signal
import sqlite3
import threading
from contextlib import closing

import pytest

from tests.e2e.conftest import running_serve
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of
from tests.faults.of_serve import child_of
from tests.mlflow import Told, standing_in
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("tracking")]


def test_a_tracker_that_hangs_holds_up_no_round_and_a_killed_worker_leaves_nothing_out(tmp_path):
    goes_on, asked = threading.Event(), threading.Event()
    with standing_in() as (url, standin), Told(url, "federated-learning") as told:
        answer = standin.answer

        def hang(method, path, query, headers, body):
            if b'"metrics"' in body:
                asked.set()
                goes_on.wait(PATIENCE)
            return answer(method, path, query, headers, body)

        standin.answer = hang
        with running_serve(tmp_path, FL_MLFLOW_TRACKING_URI=url) as server:
            actor, person = Person(server.url), Person(server.url)
            model = actor.upload_model(scripted(0.0))
            training = actor.open_training(model, [person], 2)
            actor.start(training)
            for number in (0, 1):
                person.await_notification("UPDATE_ROUND_START", number)
                person.update(model, number, update_of(1.0))
                person.await_notification("MODEL_TEST_ROUND", number + 1)
                person.report(model, number / 2)
                assert asked.wait(PATIENCE), "it hangs from the first round on"
            person.await_notification("TRAINING_FINISHED")
            os.kill(child_of(server, "notify@"), signal.SIGKILL)
            goes_on.set()
            hand_on(server.folder / "var" / "db.sqlite3")
            wait_until(lambda: told.run()["status"] == "FINISHED")
        points = told.points()
        assert points["accuracy"] == [(1, 0.0), (2, 0.5)]
        assert len(points) == 4


def hand_on(database):
    """Have it told at once again, not when the killed worker's lease is over."""
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection, connection:
        changed = connection.execute("UPDATE fl_server_core_tracking SET due_at = '2026-01-01'")
        assert changed.rowcount == 1
