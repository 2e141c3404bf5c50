"""The health endpoints, by themselves and against real workers."""

import os
import signal
import threading

import pytest

from fl_server import health
from fl_server.health import Readiness, UnhealthyError
from tests.waiting import wait_until


def test_liveness_answers_anyone_without_the_database(client):
    response = client.get("/health/")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/health/", "/health/ready/"])
def test_health_is_read_only(client, path):
    assert client.post(path).status_code == 405


def test_readiness_names_what_is_wrong(client, monkeypatch):
    def broken() -> None:
        raise UnhealthyError("no worker on rounds")

    checks = {"database": lambda: None, "workers": broken}
    monkeypatch.setattr(health, "READINESS", Readiness(checks))
    response = client.get("/health/ready/")
    assert response.status_code == 503
    wanted = {"database": "ok", "workers": "no worker on rounds"}
    assert response.json() == {"status": "unavailable", "checks": wanted}


def test_an_unexpected_error_is_logged_and_not_shown(caplog):
    def broken() -> None:
        raise OSError("password=secret")

    assert Readiness({"storage": broken}).outcome() == {"storage": "unavailable"}
    assert "password=secret" in caplog.text


def test_the_checks_run_once_however_many_ask():
    calls = []
    readiness = Readiness({"database": lambda: calls.append(1)})
    threads = [threading.Thread(target=readiness.outcome) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_a_check_that_hangs_is_told_and_neither_repeated_nor_in_the_others_way(monkeypatch):
    monkeypatch.setattr(health, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(health, "KEPT_FOR", 0)
    release, calls = threading.Event(), []

    def hangs() -> None:
        calls.append(1)
        release.wait()

    readiness = Readiness({"database": hangs, "storage": lambda: None})
    try:
        for _ in range(3):
            wait_until(lambda: readiness.outcome()["storage"] == "ok")
            assert readiness.outcome()["database"].startswith("no answer within")
        assert calls == [1]
    finally:
        release.set()
    wait_until(lambda: readiness.outcome()["database"] == "ok")


def test_the_storage_check_leaves_nothing_behind(settings):
    health.check_storage()
    assert list(settings.SCRATCH_DIR.iterdir()) == []


@pytest.mark.django_db
def test_the_database_check_passes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.connection.close", lambda: None)  # the test's own transaction
        health.check_database()


@pytest.mark.e2e
@pytest.mark.xdist_group("serve")
def test_readiness_follows_the_workers(server):
    def told() -> tuple[int, str]:
        answer = server.get("/health/ready/")
        return answer.status_code, answer.json()["checks"]["workers"]

    wait_until(lambda: told() == (200, "ok"))
    worker = server.child("-Q serving")
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: told() == (503, "no worker on serving"))
        assert server.get("/health/").status_code == 200
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: told() == (200, "ok"))
