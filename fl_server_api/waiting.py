"""Requests that wait, capped so that there is always a thread for those that don't.

Each kind of waiting has places of its own, in each process, and no user gets more than half of
them. Their number depends on the threads (`FL_WEB_THREADS`): of 24, polls get 6, predictions 6
and summaries 3. With the 6 that may read large bodies (`fl_server.receiving`), 3 are left that
never wait for a client or a worker. With fewer than 4 threads no poll waits. Who asks how far an
upload is takes a poll's place.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from threading import Event, Lock
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from fl_server_core.connections import lend_connection
from fl_server_core.news import Listener
from fl_server_core.places import Places

T = TypeVar("T")

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.02, 0.5, 1.25
"""Seconds between two looks: few at first, because most answers come soon."""
WOKEN_PAUSE = 5.0
"""The same for requests that are woken as soon as there may be something."""


class TurnedAway:
    """Users who found no place lately, and how long they should pause before they ask again."""

    EACH_SECOND, OF_ONE_USER = 50, 5
    """How many may ask again in a second, because answering one takes some milliseconds."""
    LONGEST_PAUSE = 30

    def __init__(self) -> None:
        self._lock = Lock()
        self._turns: dict[UUID, float] = {}

    def pause(self, user: UUID) -> int:
        """Return after how many seconds this user may ask again."""
        now = time.monotonic()
        with self._lock:
            turn = max(self._turns.pop(user, now), now) + 1 / self.OF_ONE_USER
            self._turns[user] = min(turn, now + self.LONGEST_PAUSE)  # the newest is last
            while next(iter(self._turns.values())) < now - 2 * self.LONGEST_PAUSE:
                del self._turns[next(iter(self._turns))]
            of_all, of_user = 1 + len(self._turns) // self.EACH_SECOND, math.ceil(turn - now)
        return min(max(of_all, of_user), self.LONGEST_PAUSE)


POLLS = Places(settings.FL_WEB_THREADS // 4)
PREDICTIONS = Places(max(settings.FL_WEB_THREADS // 4, 1))
SUMMARIES = Places(settings.FL_WEB_THREADS // 8)
TURNED_AWAY = TurnedAway()


def wait_for(
    look: Callable[[], list[T]],
    seconds: float,
    *,
    places: Places,
    user: UUID,
    listener: Listener | None = None,
) -> list[T]:
    """Look until there is something to see, for so many seconds at most.

    With a listener it is woken by news for this user. The first pause is short all the same,
    because what comes between the first look and the listening wakes nobody.
    """
    found = look()
    if found or not seconds:
        return found
    deadline, pause, woken = time.monotonic() + seconds, FIRST_PAUSE, Event()
    waking = listener.waking(user, woken) if listener else nullcontext()
    with places.place(user) as may_wait, waking:
        while may_wait and not found and (left := deadline - time.monotonic()) > 0:
            lend_connection()
            woken.wait(min(pause, left))
            woken.clear()
            found = look()
            is_told = listener is not None and listener.hears
            pause = WOKEN_PAUSE if is_told else min(pause * GROWTH, LAST_PAUSE)
    return found
