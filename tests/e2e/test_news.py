"""Requests that wait are woken by whichever process has messages for them."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import running_serve
from tests.e2e.people import Person
from tests.e2e.tiny import scripted, update_of
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("news")]


def test_who_waits_is_woken_by_the_web_process_and_by_a_worker(tmp_path):
    drowsy = {"GUNICORN_CMD_ARGS": "--worker-class tests.e2e.drowsy.Worker", "FL_WEB_WORKERS": "1"}
    with running_serve(tmp_path, **drowsy) as server, ThreadPoolExecutor() as pool:
        actor, person = Person(server.url), Person(server.url)
        model = actor.upload_model(scripted(0.0))
        training = actor.open_training(model, [person], 1)
        told = pool.submit(person.fetch)
        wait_until(lambda: list((tmp_path / "var" / "broker" / "news").glob("*.pipe")))
        time.sleep(1)  # so that it sleeps
        actor.start(training)
        assert told.result(timeout=PATIENCE)
        person.await_notification("UPDATE_ROUND_START", 0)
        told = pool.submit(person.fetch)
        time.sleep(1)
        Person.update(person, model, 0, update_of(1.0))
        assert [item["notification_type"] for item in told.result(PATIENCE)] == ["MODEL_TEST_ROUND"]
