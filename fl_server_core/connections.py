"""The database connection of a thread that waits for something else."""

from django.db import connection


def lend_connection() -> None:
    """Give a pooled connection back for a pause; the pool is smaller than the threads' number.

    The next query takes one again. Within a transaction nothing happens, nor on SQLite: its
    connections are nothing that others wait for, and opening one takes longer than a query.
    """
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()
