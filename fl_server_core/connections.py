"""The database connection of a thread that waits for something else, or of a process that forks."""

from django.db import connection, connections


def lend_connection() -> None:
    """Give a connection back for a pause, because the pool has fewer than there are threads.

    The next query takes one again. Does nothing within a transaction, nor on SQLite, which has no
    pool, and where opening a connection takes longer than a query.
    """
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()


def close_all() -> None:
    """Close this process' connections, its pool's too, because a pool has threads."""
    connections.close_all()
    for each in connections.all():
        if each.vendor == "postgresql":
            each.close_pool()  # type: ignore[attr-defined]  # not in its stubs
