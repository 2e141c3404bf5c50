"""When a server is ready."""

import os
import threading

import pytest

from fl_server import supervisor
from fl_server.processes import COMMANDS
from fl_server.readiness import READY_PIPE, report_ready


@pytest.fixture
def pipe():
    heard, said = os.pipe()
    yield heard, said
    os.close(said)


def test_it_is_ready_when_each_process_has_reported(pipe, monkeypatch):
    heard, said = pipe
    told = threading.Event()
    waits = threading.Thread(target=supervisor._announce, args=(heard, told.set))
    waits.start()
    *first, last = COMMANDS
    for name in (*first, *first):  # one that dies early reports twice
        monkeypatch.setenv(READY_PIPE, f"{said}:{name}")
        report_ready()
    assert not told.wait(0.2)
    monkeypatch.setenv(READY_PIPE, f"{said}:{last}")
    report_ready()
    waits.join(timeout=30)
    assert told.is_set()


def test_later_reports_to_nobody_do_no_harm(pipe, monkeypatch):
    heard, said = pipe
    os.close(heard)
    monkeypatch.setenv(READY_PIPE, f"{said}:web")
    report_ready()


def test_without_a_supervisor_nothing_is_reported(monkeypatch):
    monkeypatch.delenv(READY_PIPE, raising=False)
    report_ready()
