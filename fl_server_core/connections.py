"""The database connection of a thread that waits for something else."""

from django.db import connection


def lend_connection() -> None:
    """Give a pooled connection back for a pause; the pool is smaller than the threads' number.

    The next query takes one again. Within a transaction nothing happens.
    """
    if not connection.in_atomic_block:
        connection.close()
