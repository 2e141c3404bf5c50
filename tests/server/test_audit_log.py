"""The audit log as lines of JSON: in a file, and by `manage.py audit_log`."""

import json
import logging
import stat
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from fl_server.checks import check_audit_log
from fl_server_core.appending import Appending
from fl_server_core.models import Act


@pytest.fixture
def handler(tmp_path):
    return Appending(str(tmp_path / "acts"))


def record(text):
    return logging.makeLogRecord({"msg": "%s", "args": (text,)})


def test_each_line_is_appended_and_nobody_else_may_read_them(handler, tmp_path):
    path = tmp_path / "acts"
    for text in ("one", "two"):
        handler.handle(record(text))
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_moved_away_is_begun_anew(handler, tmp_path):
    handler.handle(record("one"))
    (tmp_path / "acts").rename(tmp_path / "old")
    handler.handle(record("two"))
    assert (tmp_path / "acts").read_text() == "two\n"


def test_a_file_that_cannot_be_written_is_told_on_stderr_and_stops_nothing(tmp_path, capsys):
    Appending(str(tmp_path / "nowhere" / "acts")).handle(record("one"))
    assert "FileNotFoundError" in capsys.readouterr().err


def test_a_path_that_cannot_be_written_stops_the_start_with_a_sentence(settings, tmp_path):
    for path in ("", str(tmp_path / "acts")):
        settings.FL_AUDIT_LOG = path
        assert check_audit_log(None) == []
    for path in (tmp_path, tmp_path / "nowhere" / "acts"):
        settings.FL_AUDIT_LOG = str(path)
        [error] = check_audit_log(None)
        assert (error.id, error.msg) == (
            "fl_server.E004",
            f"FL_AUDIT_LOG can't be written: {path}.",
        )
    assert not any(tmp_path.iterdir())


def exported(*arguments):
    out = StringIO()
    call_command("audit_log", *arguments, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_all_rows_are_written_oldest_first(db):
    for code in ("group.added", "group.removed"):
        Act.objects.create(code=code, details={"name": "\n"})
    assert exported() == [act.told for act in Act.objects.order_by("pk")]


def test_or_those_since_a_day_or_a_time(db):
    now = timezone.now()
    for age in (3, 0):
        Act.objects.create(code="group.added", created_at=now - timedelta(days=age))
    newest = [Act.objects.last().told]
    assert exported("--since", str((now - timedelta(days=1)).date())) == newest
    assert exported("--since", now.isoformat()) == newest
    assert exported("--since", (now + timedelta(days=1)).isoformat()) == []
    with pytest.raises(CommandError, match="since"):
        exported("--since", "yesterday")
