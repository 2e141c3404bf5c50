"""What a database says is wrong, provoked, and what a client is told."""

import sqlite3

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connections
from rest_framework.test import APIClient

from fl_server.sqlite.base import DatabaseWrapper
from tests.api.test_requests import failing

BUSY = (503, "1", "The server is busy; try again.")
FULL = (507, None, "The server's disk is full; nothing of this request was kept.")
GONE = (404, None, "What this refers to was removed meanwhile.")

pytestmark = pytest.mark.django_db


def said(response):
    return response.status_code, response.get("Retry-After"), response.json()["detail"]


def raised(function, *args, kind=OperationalError):
    with pytest.raises(kind) as caught:
        function(*args)
    return caught.value


@pytest.fixture
def other(tmp_path):
    """A database of SQLite's that isn't the tests'."""
    options = {"NAME": tmp_path / "db", "OPTIONS": {"timeout": 0, "transaction_mode": "IMMEDIATE"}}
    made = DatabaseWrapper(connections.settings["default"] | options)
    with made.cursor() as cursor:
        cursor.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        cursor.execute("CREATE TABLE b (a INTEGER REFERENCES a (id), text TEXT)")
        cursor.execute("INSERT INTO a VALUES (1), (2)")
        yield cursor
    made.close()


@pytest.fixture
def locked(other, tmp_path):
    """The error of who finds the database locked."""
    writer = sqlite3.connect(tmp_path / "db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    yield raised(other.execute, "DELETE FROM a")
    writer.close()


def test_a_locked_database_is_busy(locked, monkeypatch):
    assert said(failing(monkeypatch, locked)) == BUSY


def test_a_locked_database_is_busy_outside_of_the_views_too(locked, monkeypatch):
    def busy(*_):
        raise locked

    caller = APIClient(raise_request_exception=False)
    monkeypatch.setattr("fl_server_api.middleware.BodyLimit._limit", busy)
    assert said(caller.post("/api-auth/login/")) == BUSY


def test_a_locked_table_is_busy(other, monkeypatch):
    with other.db.cursor() as reading:
        reading.execute("SELECT id FROM a")
        reading.fetchone()
        error = raised(other.execute, "DROP TABLE b")
    assert said(failing(monkeypatch, error)) == BUSY


def test_a_database_without_room_is_full(other, monkeypatch):
    other.execute("PRAGMA max_page_count = 1")
    error = raised(other.execute, "INSERT INTO b VALUES (1, %s)", ["x" * 100_000])
    assert said(failing(monkeypatch, error)) == FULL


def test_what_is_referred_to_is_gone(other, monkeypatch):
    error = raised(other.execute, "INSERT INTO b VALUES (-1, '')", kind=IntegrityError)
    assert said(failing(monkeypatch, error)) == GONE


def test_what_is_there_twice_is_a_fault(other, monkeypatch):
    error = raised(other.execute, "INSERT INTO a VALUES (1)", kind=IntegrityError)
    assert failing(monkeypatch, error).status_code == 500


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("state", "answer"),
    [
        *((state, BUSY) for state in ("40001", "40P01", "53300", "55P03", "57P02", "57P03")),
        ("53100", FULL),
        ("23503", GONE),
    ],
)
def test_postgresqls_states_are_known(monkeypatch, state, answer):
    with connections.create_connection("default").cursor() as cursor:
        error = raised(
            cursor.execute, f"DO $$BEGIN RAISE SQLSTATE '{state}'; END$$", kind=DatabaseError
        )
        cursor.db.close()
    assert said(failing(monkeypatch, error)) == answer


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["SELECT pg_terminate_backend(pg_backend_pid())", "close"])
def test_a_connection_that_postgresql_ends_is_busy(monkeypatch, how):
    made = connections.create_connection("default")
    with made.cursor() as cursor:
        if how == "close":
            made.connection.close()
        error = raised(cursor.execute, how)
    made.close()
    assert said(failing(monkeypatch, error)) == BUSY
