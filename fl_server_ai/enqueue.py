"""Telling the workers that there is something to do.

A task in the queue makes things fast, nothing rests on it: the rows say what is due, and the
sweeper finds whatever a lost task would have started. Tasks go by name, so that a web process
imports none of what they do.
"""

from celery import current_app
from django.db import transaction

EXPIRE = {"summarise": 60}
"""After so many seconds nobody begins with it: who still wants it asks again."""


def on_commit(task: str, *args: str | int) -> None:
    """Send the task with these ids once the transaction is committed.

    A broker that can't be reached is logged and otherwise has no effect.
    """
    transaction.on_commit(lambda: send(task, *args), robust=True)


def send(task: str, *args: str | int) -> None:
    """Send the task now."""
    current_app.send_task(
        f"fl_server_ai.tasks.{task}", args=args, ignore_result=True, expires=EXPIRE.get(task)
    )
