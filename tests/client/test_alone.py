"""Two processes that are the same client take turns."""

import logging
import subprocess
import sys
import threading

from fl_client.alone import alone

HOLDING = """
import pathlib, sys, time
from fl_client.alone import alone
with alone(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_process_waits_until_the_first_has_died(tmp_path, caplog):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"in\n"
        timer = threading.Timer(0.5, first.kill)
        timer.start()
        with alone(tmp_path):
            assert first.wait(timeout=0.5) != 0
        timer.join()
    assert caplog.messages == ["Another process here is this client; this one waits for its end."]


def test_nobody_waits_for_another_folder_or_for_one_that_has_gone(tmp_path, caplog):
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other", tmp_path):
        with alone(folder):
            pass
    assert caplog.messages == []


def test_where_there_are_no_locks_it_goes_on_and_says_so(tmp_path, caplog, monkeypatch):
    def fail(*_):
        raise OSError(37, "No locks available")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr("fcntl.lockf", fail)
    with alone(tmp_path):
        pass
    assert "No locks available" in caplog.text
