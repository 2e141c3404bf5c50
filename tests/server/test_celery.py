"""Where tasks go, and what of their results is kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from fl_server.celery import app
from fl_server.processes import COMMANDS, QUEUES
from fl_server.results import FileBackend


def test_each_queue_has_a_process_of_its_own():
    assert set(app.amqp.queues) == set(QUEUES)
    for queue in QUEUES:
        command = COMMANDS[queue]
        assert command[command.index("-Q") + 1] == queue


def test_every_route_and_beat_entry_names_a_task_and_a_queue():
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled | set(app.conf.task_routes) <= set(app.tasks)
    assert {route["queue"] for route in app.conf.task_routes.values()} <= set(QUEUES)


def test_only_json_is_read_and_results_are_kept_on_request():
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_ignore_result


ORPHANED = """
import os, time
from billiard import Process
from celery.concurrency.prefork import process_initializer
from fl_server.celery import app

def begin():
    while os.getppid() == parent:
        time.sleep(0.01)
    process_initializer(app, "rounds@here")
    print("works on", flush=True)

parent = os.getpid()
Process(target=begin).start()
os._exit(0)
"""


def test_a_pools_process_ends_if_its_worker_died_while_it_started():
    done = subprocess.run(
        [sys.executable, "-c", ORPHANED], capture_output=True, text=True, timeout=120
    )
    assert "works on" not in done.stdout
    assert "Error" not in done.stderr


@pytest.fixture
def results(tmp_path: Path) -> FileBackend:
    return FileBackend(app=app, url=f"file://{tmp_path}")


def test_a_result_is_read_back_by_its_id_and_leaves_no_other_file(results, tmp_path):
    results.store_result("1", None, "STARTED")
    results.store_result("1", {"answer": 42}, "SUCCESS")
    assert results.get_result("1") == {"answer": 42}
    assert [path.name for path in tmp_path.iterdir()] == ["celery-task-meta-1"]


def test_a_result_that_is_gone_can_be_forgotten(results):
    results.forget("1")


def test_a_result_is_never_seen_half_written(results, monkeypatch):
    results.set(b"key", "old")
    monkeypatch.setattr("os.replace", lambda *_: None)  # as if it ended before the renaming
    results.set(b"key", "new" * 10_000)
    assert results.get(b"key") == b"old"
