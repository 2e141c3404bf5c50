"""Something scarce, such as threads, of which no user gets more than half."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID


class Places:
    """A number of places in this process, and half of them for each user."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.each = max(total // 2, 1)
        self._changed = threading.Condition()
        self._taken: Counter[UUID] = Counter()

    @contextmanager
    def place(self, user: UUID, *, seconds: float = 0) -> Iterator[bool]:
        """Hold one of the places. Yields False if none is left for this user in that time."""
        taken = self._take(user, seconds)
        try:
            yield taken
        finally:
            if taken:
                self._leave(user)

    def _take(self, user: UUID, seconds: float) -> bool:
        def is_free() -> bool:
            return self._taken.total() < self.total and self._taken[user] < self.each

        with self._changed:
            taken = self._changed.wait_for(is_free, seconds)
            self._taken[user] += taken
            return taken

    def _leave(self, user: UUID) -> None:
        with self._changed:
            self._taken[user] -= 1
            self._taken = +self._taken  # drops users who hold none
            self._changed.notify_all()
