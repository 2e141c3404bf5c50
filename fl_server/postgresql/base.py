"""The backend that `DATABASES` names.

After a restart of PostgreSQL all connections in the pool are dead. The pool's own check throws them
away one by one, with growing pauses in between: with a dozen connections, requests failed for more
than half a minute after the database was back.
"""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import Error


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is alive when it is taken from the pool."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a live connection; if there is none for longer than the pool waits, raise."""
        for _ in range(self.pool.max_size if self.pool else 0):
            connection = super().get_new_connection(conn_params)
            try:
                self.pool.check_connection(connection)
            except Error:
                self.pool.putconn(connection)  # which replaces it
            else:
                return connection
        return super().get_new_connection(conn_params)
