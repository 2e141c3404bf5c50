"""The backend that `DATABASES` names.

When BEGIN fails, Django leaves the cursor open, and its exception keeps it in a reference cycle.
The garbage collector may then reset the cursor in another thread, which needs the mutex of the
connection. If the connection's own thread holds that mutex while it waits for the write lock, and
the collecting thread has the write lock, both wait until the timeout: one "database is locked" led
to many more.
"""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that closes the cursor when BEGIN fails."""

    transaction_mode: str | None  # set by Django, missing in its stubs

    def _start_transaction_under_autocommit(self) -> None:
        with self.cursor() as cursor:
            cursor.execute(f"BEGIN {self.transaction_mode or ''}")
