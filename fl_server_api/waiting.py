"""Requests that wait, capped so that there is always a thread for those that don't."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings

from fl_server_core.connections import lend_connection

T = TypeVar("T")

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.02, 0.5, 1.25
"""Seconds between two looks: few at first, as most of what comes comes soon."""

_slots = threading.BoundedSemaphore(max(settings.FL_WEB_THREADS // 2, 1))


@contextmanager
def waiting_slot() -> Iterator[bool]:
    """Hold one of the places to wait in, of which there are half as many as threads.

    Yields False at once when all are taken.
    """
    taken = _slots.acquire(blocking=False)
    try:
        yield taken
    finally:
        if taken:
            _slots.release()


def wait_for(look: Callable[[], list[T]], seconds: float) -> list[T]:
    """Look until there is something to see, for so many seconds at most."""
    found = look()
    if found or not seconds:
        return found
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    with waiting_slot() as may_wait:
        while may_wait and not found and (left := deadline - time.monotonic()) > 0:
            lend_connection()
            time.sleep(min(pause, left))
            pause = min(pause * GROWTH, LAST_PAUSE)
            found = look()
    return found
