import gc
import sqlite3

import pytest
from django.db import OperationalError, connections

from fl_server import settings
from fl_server.sqlite.base import DatabaseWrapper


@pytest.fixture
def connection(tmp_path):
    options = {"timeout": 0, "transaction_mode": "IMMEDIATE"}
    file = {"NAME": tmp_path / "db", "OPTIONS": options}
    connection = DatabaseWrapper(connections.settings["default"] | file)
    yield connection
    connection.close()


@pytest.fixture
def writer(tmp_path):
    """Somebody else who holds the write lock."""
    writer = sqlite3.connect(tmp_path / "db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    yield writer
    writer.close()


def begin(connection):
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def open_cursors(connection):
    # Not isinstance, which would ask every object there is for its __class__.
    cursors = (found for found in gc.get_objects() if issubclass(type(found), sqlite3.Cursor))
    return [
        cursor for cursor in cursors if cursor.connection is connection.connection and _open(cursor)
    ]


def _open(cursor):
    try:
        cursor.fetchone()
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.mark.django_db
def test_a_transaction_that_can_not_begin_leaves_no_cursor_open(connection, writer):
    with pytest.raises(OperationalError, match="locked"):
        begin(connection)
    assert open_cursors(connection) == []
    writer.execute("ROLLBACK")
    begin(connection)
    connection.rollback()


def test_the_server_uses_this_backend():
    assert settings.SQLITE["ENGINE"] == "fl_server.sqlite"
