"""The backend that `DATABASES` names.

Django leaves the cursor open whose BEGIN has failed, and its exception keeps it in a cycle.
The garbage collector then resets it in whichever thread it runs, for which SQLite wants the
mutex of the other thread's connection. That thread holds it while it waits for the write
lock, and if it is the collecting thread that has the lock, both wait until the timeout: after
one "database is locked" came the next, and the next.
"""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that closes what it can't begin."""

    transaction_mode: str | None  # set by Django, missing in its stubs

    def _start_transaction_under_autocommit(self) -> None:
        with self.cursor() as cursor:
            cursor.execute(f"BEGIN {self.transaction_mode or ''}")
