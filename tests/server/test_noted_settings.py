"""The settings that a server is started with, in the audit log."""

import pytest
from django.db import connection

from fl_server import env, gunicorn, noted_settings
from fl_server.noted_settings import note_settings
from fl_server_core.models import Act


@pytest.fixture
def effective(monkeypatch):
    """What the settings have come to; the test's connection stays open."""
    monkeypatch.setattr(noted_settings, "close_all", lambda: None)
    settings = {"FL_TOKEN_DAYS": 0, "FL_RECORD_KEY": "set"}
    monkeypatch.setattr(env, "effective", settings)
    return settings


def noted():
    return [act.details["changed"] for act in Act.objects.filter(code="settings.changed")]


def test_they_are_noted_once_per_change(db, effective):
    for _ in range(3):
        note_settings()
    assert noted() == [[]]
    effective |= {"FL_TOKEN_DAYS": 7, "FL_NEW": [1]}
    note_settings()
    note_settings()
    assert noted() == [[], ["FL_NEW", "FL_TOKEN_DAYS"]]
    act = Act.objects.last()
    assert act.details["settings"] == effective
    assert (act.user_id, act.object_type) == (None, "")


def test_what_is_read_can_be_stored_and_read_back_the_same(db, monkeypatch):
    monkeypatch.setattr(noted_settings, "close_all", lambda: None)
    note_settings()
    note_settings()
    assert noted() == [[]]
    assert len(Act.objects.last().details["settings"]) > 60


def test_a_secret_is_told_only_as_set(monkeypatch, tmp_path):
    known = {}
    monkeypatch.setattr(env, "effective", known)
    monkeypatch.setattr(env, "declared", {"Tests": []})
    monkeypatch.setenv("FL_A_KEY", "hidden")
    (tmp_path / "b").write_text("hidden")
    monkeypatch.setenv("FL_B_KEY_FILE", str(tmp_path / "b"))
    monkeypatch.setenv("FL_POSTGRES_PASSWD", "hidden")
    monkeypatch.setattr(env, "problems", [])
    assert env.secret("FL_A_KEY", "") == env.secret("FL_B_KEY", "") == "hidden"
    assert env.secrets("FL_A_KEY", "") == ["hidden"]
    env.secret("FL_C_KEY", "")
    env.expect_none("FL_POSTGRES_", without="FL_POSTGRES_HOST")
    assert known == {"FL_A_KEY": "set", "FL_B_KEY": "set", "FL_C_KEY": ""}


def test_a_start_does_not_fail_for_it(db, effective, monkeypatch, caplog):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(noted_settings, "_note", fail)
    note_settings()
    assert "the settings aren't noted" in caplog.text
    assert not connection.needs_rollback


def test_the_web_server_notes_them_before_it_forks(monkeypatch):
    calls = []
    monkeypatch.setattr(noted_settings, "note_settings", lambda: calls.append("noted"))
    monkeypatch.setattr(gunicorn.gc, "freeze", lambda: calls.append("frozen"))
    gunicorn.when_ready(None)
    assert calls == ["noted", "frozen"]
