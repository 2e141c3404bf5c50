"""Who is posted to next: receivers that don't answer hold up nobody else.

A post to a receiver that hangs holds a thread until its time is up. So the threads of a worker
are divided (bulkheads; Nygard, "Release It!"), and a delivery may start when all of this holds:

- its training, and its receiver's address (host and port), have fewer than `EACH` under way, and
  the host, whichever the port, fewer than `EACH_HOST`: it may be somebody's who asked for nothing;
- where its receiver isn't known to be prompt, these have fewer than half as many of that kind,
  and all trainings together fewer than `SLOW`.

A receiver is prompt that answered its last message, of whatever training, within
`PROMPT_SECONDS`; a new one, one that timed out and one that takes its time are not. So however
many new or dead receivers there are, a prompt one finds a thread at once, until the prompt
receivers of (THREADS - SLOW) / EACH trainings and addresses fall silent in the same moment; a
time-out later they aren't prompt any more. Among themselves trainings take turns.

What may not start waits in line, without a thread; whoever ends a delivery takes the next. What
is scarce are the threads of this process, so each process counts its own, in memory. Who is
prompt is stored with the user and known to all. A line that is lost with its process is no
loss: what waited in it is due by the database, and the sweeper hands it in again.
"""

import threading
from collections import Counter
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from uuid import UUID

THREADS = 128
"""Of one worker; most of them wait, for a few kilobytes each."""
EACH, EACH_SLOW = 16, 8
EACH_HOST, EACH_HOST_SLOW = 32, 16
SLOW = 48
"""Deliveries under way at once: of one training or to one address, and to one host; of these to
receivers that aren't prompt; of all of those."""
PROMPT_SECONDS = 1.0


@dataclass(frozen=True)
class Delivery:
    """One training's messages to one receiver, who listens at `address`."""

    training: UUID
    receiver: UUID
    address: str = ""
    prompt: bool = False
    context: Context = field(default_factory=copy_context, init=False, compare=False)
    """Of whoever put it in line, because any thread may take it: the ids in the log, the trace."""

    @property
    def line(self) -> tuple[UUID, bool]:
        """Where it waits: with those of its training that are as prompt."""
        return self.training, self.prompt

    def places(self) -> "Places":
        """Return what it takes a place in, and how many there are of each."""
        host = self.address.rpartition(":")[0]
        places = self.shared_places() | {("at", self.address): EACH, ("on", host): EACH_HOST}
        slow = {("slow at", self.address): EACH_SLOW, ("slow on", host): EACH_HOST_SLOW}
        return places if self.prompt else places | slow

    def shared_places(self) -> "Places":
        """Return those that all in its line need."""
        places: Places = {("of", self.training): EACH}
        return (
            places if self.prompt else places | {("slow of", self.training): EACH_SLOW, SLOWS: SLOW}
        )


Place = tuple[str, UUID | str]
Places = dict[Place, int]
SLOWS: Place = ("slow", "")


class Bulkheads:
    """The deliveries under way in this process, and those in line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[Place] = Counter()
        self._lines: dict[tuple[UUID, bool], dict[UUID, Delivery]] = {}
        self._closed = False

    def join(self, delivery: Delivery) -> None:
        """Put it in line; one that is in line already keeps its place."""
        with self._lock:
            self._lines.setdefault(delivery.line, {})[delivery.receiver] = delivery

    def take(self) -> Delivery | None:
        """Take the next that may start; whoever has it calls `leave` when it is over."""
        with self._lock:
            found = None if self._closed else self._first_with_room()
            if found:
                self._start(found)
            return found

    def leave(self, delivery: Delivery) -> None:
        """Give its places back."""
        with self._lock:
            self._taken.subtract(delivery.places().keys())
            self._taken = +self._taken  # forgets those that are all free

    def close(self) -> None:
        """Let nothing start any more: the process is about to end."""
        self._closed = True

    def _first_with_room(self) -> Delivery | None:
        for line in self._lines.values():
            if self._has_room(next(iter(line.values())).shared_places()):
                for delivery in line.values():
                    if self._has_room(delivery.places()):
                        return delivery
        return None

    def _has_room(self, places: Places) -> bool:
        return all(self._taken[place] < many for place, many in places.items())

    def _start(self, delivery: Delivery) -> None:
        self._taken.update(delivery.places().keys())
        line = self._lines.pop(delivery.line)
        del line[delivery.receiver]
        if line:  # its next turn comes after the others'
            self._lines[delivery.line] = line
