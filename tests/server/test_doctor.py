"""`manage.py doctor` says of each thing whether it is well, and what to do where it isn't."""

import os
import shutil
import socket
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.checks import Error
from django.core.management import CommandError, call_command
from django.db.migrations.executor import MigrationExecutor

from fl_server import diagnosis, health
from fl_server.diagnosis import CHECKS, Diagnosis, Finding, examine
from fl_server.health import UnhealthyError
from fl_server_ai.inference.runner.cage import Report
from tests.mlflow import standing_in
from tests.server.conftest import MANAGE

ALONE = {"workers", "broker"}
"""What needs a server."""


@pytest.fixture
def room(settings, tmp_path):
    """A data folder as `serve` leaves it."""
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.django_db
def test_where_all_is_well_each_check_says_what_it_has_found(room):
    for name in CHECKS.keys() - ALONE:
        assert CHECKS[name](), name


def told(monkeypatch, **checks):
    monkeypatch.setattr(diagnosis, "CHECKS", checks)
    return list(examine())


def test_one_that_fails_holds_up_no_other(monkeypatch):
    def fails():
        raise OSError(13, "Permission denied")

    def finds():
        raise Finding("Do this.")

    assert told(monkeypatch, a=fails, b=finds, c=lambda: "well") == [
        Diagnosis("a", is_well=False, words="PermissionError: [Errno 13] Permission denied"),
        Diagnosis("b", is_well=False, words="Do this."),
        Diagnosis("c", is_well=True, words="well"),
    ]


def test_the_command_ends_with_an_error_where_something_is_to_be_done(monkeypatch):
    def finds():
        raise Finding("Do this.")

    monkeypatch.setattr(diagnosis, "CHECKS", {"clock": lambda: "well", "disks": finds})
    out = StringIO()
    with pytest.raises(CommandError, match=r"1 of these need something done\."):
        call_command("doctor", stdout=out, no_color=True)
    assert out.getvalue() == "ok   clock     well\nFAIL disks     Do this.\n"
    monkeypatch.setattr(diagnosis, "CHECKS", {"clock": lambda: "well"})
    call_command("doctor", stdout=out)


def test_a_wrong_setting_is_told_with_its_id(monkeypatch):
    wrong = [Error("FL_PORT is no number.", id="fl_server.E001")]
    monkeypatch.setattr(diagnosis, "run_checks", lambda: wrong)
    with pytest.raises(Finding, match=r"fl_server\.E001: FL_PORT is no number\."):
        diagnosis.check_settings()


@pytest.mark.django_db
def test_a_database_behind_the_code_is_told(monkeypatch):
    missing = [(SimpleNamespace(app_label="fl_server_core", name="0099_new"), False)]
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: missing)
    with pytest.raises(Finding, match=r"1 migrations are to come \(fl_server_core\.0099_new\)"):
        diagnosis.check_database()


def test_a_full_disk_is_told(room, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8))
    with pytest.raises(Finding, match=r"has 0\.5 GB left: delete models"):
        diagnosis.check_disks()


def test_a_folder_that_others_read_is_told(room):
    room.chmod(0o755)
    with pytest.raises(Finding, match="Others may read"):
        diagnosis.check_secrets()


def test_a_device_that_is_not_there_is_told(settings):
    settings.FL_DEVICE = "cuda"
    with pytest.raises(Finding, match="Set FL_DEVICE to auto or cpu"):
        diagnosis.check_device()


def test_a_cage_that_does_not_hold_is_told(monkeypatch):
    report = Report({"calls": "seccomp"}, {"files": "the kernel has no Landlock"})
    monkeypatch.setattr(diagnosis, "try_cage", lambda _: report)
    with pytest.raises(Finding, match="missing: files \\(the kernel has no Landlock\\)"):
        diagnosis.check_cage()


def test_a_tracker_that_answers_is_told_and_one_that_does_not(settings):
    with standing_in() as (url, _):
        settings.FL_MLFLOW_TRACKING_URI = url
        assert diagnosis.check_tracker() == "MLflow at 127.0.0.1"
    with pytest.raises(Finding, match=r"No answer: ConnectionError\. Trainings go on"):
        diagnosis.check_tracker()


def test_a_queue_without_a_worker_is_told(monkeypatch):
    def none():
        raise UnhealthyError("no worker on rounds")

    monkeypatch.setattr(health, "check_workers", none)
    with pytest.raises(Finding, match=r"There is no worker on rounds: start `manage\.py serve`"):
        diagnosis.check_workers()


def test_that_nobody_takes_the_traces_is_told(settings):
    settings.FL_TRACES = True
    with socket.create_server(("127.0.0.1", 0)) as collector:
        url = f"http://127.0.0.1:{collector.getsockname()[1]}"
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = url
        assert diagnosis.check_traces() == "to 127.0.0.1"
    with pytest.raises(Finding, match=r"Nobody takes traces at 127\.0\.0\.1"):
        diagnosis.check_traces()


def test_a_port_that_is_taken_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(diagnosis, "PORT", taken.getsockname()[1])
        assert "is taken" in diagnosis.check_port()
    assert "is free" in diagnosis.check_port()


@pytest.mark.postgres
@pytest.mark.django_db
def test_a_clock_that_is_off_is_told(monkeypatch):
    assert "from the database's" in diagnosis.check_clock()
    monkeypatch.setattr(diagnosis, "SECONDS_OFF", -1)
    with pytest.raises(Finding, match="let NTP set both"):
        diagnosis.check_clock()


@pytest.mark.e2e
@pytest.mark.xdist_group("serve")
def test_a_server_that_runs_is_well(server):
    environment = os.environ | {"FL_DATA_DIR": str(server.folder / "data")}
    command = [sys.executable, MANAGE, "doctor"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=server.folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "one on each queue" in done.stdout
