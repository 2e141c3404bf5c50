"""Participants that train nothing: what each answers is stored, by round and number."""

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.e2e.crowd import Mailboxes, Message, step_of
from tests.e2e.people import Person
from tests.e2e.tiny import scripted
from tests.waiting import PATIENCE

INPUTS = 20_000
UPDATE, TEST = "UPDATE_ROUND_START", "MODEL_TEST_ROUND"
FINISHED, REMOVED = "TRAINING_FINISHED", "CLIENT_REMOVED"


@cache
def stored_model() -> bytes:
    return scripted(0.0, inputs=INPUTS)


@cache
def stored_update(round: int, number: int) -> bytes:
    """Return what a participant has learned in a round."""
    weights = np.random.default_rng([round, number]).standard_normal((1, INPUTS), np.float32)
    return save({"weight": weights})


def stored_metric(round: int, number: int) -> float:
    """Return how good a participant finds the model of a round."""
    return round + number / 10


def steps(rounds: int) -> list[Message]:
    """Return all that a participant is told, in order."""
    told: list[Message] = [("TRAINING_START", None)]
    for number in range(rounds):
        told += [(UPDATE, number), (TEST, number + 1)]
    return [*told, (FINISHED, None)]


class Inboxes(Mailboxes):
    """What was posted to whom and is still to be read; `manners` are how a path answers."""

    def __init__(self) -> None:
        super().__init__()
        self.manners: dict[str, Callable[[Message], int | None]] = {}
        self.waiting: dict[tuple[str, str], queue.Queue[dict]] = defaultdict(queue.Queue)

    def take(self, path: str, message: dict) -> int | None:
        manner = self.manners.get(path)
        status = manner(step_of(message)) if manner else 204
        if status == 204:
            super().take(path, message)
            self.waiting[path, message["training_uuid"]].put(message)
        return status


class Gate:
    """Where a participant waits before it answers a step."""

    def __init__(self) -> None:
        self.reached, self.open, self.passed = (threading.Event() for _ in range(3))


@dataclass
class Participant:
    """A person's part in one training, played in a thread of its own."""

    number: int
    person: Person
    training: str
    model: str
    inboxes: Inboxes
    told: list[Message] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    gates: dict[Message, Gate] = field(default_factory=dict)
    silent_at: set[Message] = field(default_factory=set)
    misses: set[Message] = field(default_factory=set)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stop taking part, whatever is still to come."""
        self._end.set()
        for gate in self.gates.values():
            gate.open.set()
        self._thread.join()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def path(self) -> str:
        """Where messages are posted to, on our server; "" for somebody who fetches."""
        return f"/{self.person.endpoint.rsplit('/', 1)[1]}" if self.person.endpoint else ""

    def _run(self) -> None:
        try:
            for message in self._messages():
                self._answer(step_of(message))
                if message["notification_type"] in (FINISHED, REMOVED):
                    return
        except BaseException as error:
            self.error = error

    def _messages(self) -> Iterator[dict]:
        inbox = self.inboxes.waiting[self.path, self.training]
        while not self._end.is_set():
            if not self.path:
                yield from self._fetched()
                continue
            try:
                yield inbox.get(timeout=0.1)
            except queue.Empty:
                continue

    def _fetched(self) -> Iterator[dict]:
        """Fetch what has come, and tick each off when it is done with."""
        for item in self.person.ask("GET", "/notifications/", params={"wait": 2}):
            if item["training_uuid"] == self.training:
                yield item
            self.person.ask("POST", f"/notifications/{item['id']}/ack/")

    def _answer(self, step: Message) -> None:
        self.told.append(step)
        if gate := self.gates.get(step):
            gate.reached.set()
            gate.open.wait()
        if step not in self.silent_at:
            self.answer(step)
        if gate:
            gate.passed.set()

    def answer(self, step: Message) -> None:
        """Do what is asked. A refusal is noted unless this was a repeat."""
        kind, at = step
        if kind == UPDATE:
            status, text, repeated = self.update(at)
        elif kind == TEST:
            status, text, repeated = self.report(at)
        else:
            return
        if status != 201 and not repeated and self.told.count(step) == 1:
            self.refusals.append(f"{step}: HTTP {status} {text}")

    def update(self, round: int) -> tuple[int, str, bool]:
        """Send the round's update; return status, text and whether it was sent repeatedly."""
        form = {"round": round, "sample_size": self.number + 1}
        files = {"model_file": stored_update(round, self.number)}
        return self._post(f"/models/{self.model}/", data=form, files=files)

    def report(self, round: int) -> tuple[int, str, bool]:
        """Send the round's metric; return the same."""
        value = stored_metric(round, self.number)
        form = {"metric_names": ["accuracy"], "metric_values": [value]}
        return self._post(f"/models/{self.model}/metrics/", data=form)

    def _post(self, path: str, **options: Any) -> tuple[int, str, bool]:
        url = f"{self.person.url}/api{path}"
        answer = self.person.session.post(url, timeout=PATIENCE, **options)
        return answer.status_code, answer.text, answer.was_repeated
