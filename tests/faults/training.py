"""A whole training by people who answer by themselves, and what must hold at its end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.crowd import Message
from tests.e2e.people import Person
from tests.faults.participants import (
    REMOVED,
    UPDATE,
    Gate,
    Inboxes,
    Participant,
    steps,
    stored_metric,
    stored_model,
)
from tests.waiting import PATIENCE, wait_until

ROUNDS = 3
MIDDLE = 1
"""The round in which things go wrong."""


@dataclass
class Cast:
    """An actor and people who take part: one half fetches, the other is pushed to."""

    actor: Person
    people: list[Person]
    inboxes: Inboxes

    @classmethod
    def of(cls, url: str, mail: tuple[str, Inboxes], size: int, name: str = "") -> "Cast":
        """Register so many, whose endpoints begin with the name."""
        address, inboxes = mail
        endpoints = ["" if n < size / 2 else f"{address}/{name}{n}" for n in range(size)]
        people = [Person(url, endpoint=endpoint) for endpoint in ["", *endpoints]]
        for person in people:
            person.be_patient()
        return cls(people[0], people[1:], inboxes)


@dataclass
class Running:
    """A training under way; who contributes to which round is what its outcome depends on.

    The last participant waits before it answers `moment`.
    """

    cast: Cast
    id: str
    model: str
    participants: list[Participant]
    rounds: int
    moment: Message
    revive: Callable[[], object]
    patience: float = PATIENCE
    attempt: int = 0
    contributors: dict[int, frozenset[int]] = field(default_factory=dict)
    testers: dict[int, frozenset[int]] = field(default_factory=dict)

    @property
    def actor(self) -> Person:
        return self.cast.actor

    @property
    def last(self) -> Participant:
        return self.participants[-1]

    @property
    def gate(self) -> Gate:
        return self.last.gates[self.moment]

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait for a condition; what dies meanwhile is started again."""
        return self._wait(lambda: (self.revive(), condition())[1])

    def _wait(self, condition: Callable[[], Any]) -> Any:
        def holds() -> Any:
            for participant in self.participants:
                if participant.error:
                    raise participant.error
            return condition()

        return wait_until(holds, seconds=self.patience)

    def answer(self) -> None:
        """Let the last participant answer, and wait until it has; what is dead stays so."""
        self.let_go()
        self._wait(self.gate.passed.is_set)

    def silence(self) -> None:
        """Let the last participant go on without an answer."""
        self.last.silent_at.add(self.moment)
        self.answer()

    def last_answers(self, manner: Callable[[Message], int | None] | None) -> None:
        """Give the last participant's endpoint other manners: the status by step, or none."""
        self.cast.inboxes.manners[self.last.path] = manner or (lambda step: 204)

    @contextmanager
    def last_hangs(self) -> Iterator[threading.Event]:
        """Have the endpoint not answer one call until the end; yield what tells of the call."""
        asked, over = threading.Event(), threading.Event()

        def hang(step: Message) -> int:
            if not asked.is_set():
                asked.set()
                over.wait()
            return 204

        self.last_answers(hang)
        try:
            yield asked
        finally:
            over.set()

    def resume(self) -> None:
        """Have the actor resume a training that has failed."""
        self.actor.ask("POST", f"/trainings/{self.id}/resume/")

    def remove(self, participant: Participant) -> None:
        """Have the actor remove somebody."""
        form = {"clients": [participant.person.id]}
        self.actor.ask("DELETE", f"/trainings/{self.id}/clients/", json=form)

    @property
    def has_failed(self) -> bool:
        return self.state()["state"] == "E"

    def let_go(self) -> None:
        """Let the last participant answer."""
        self.gate.open.set()

    def state(self) -> dict[str, Any]:
        return self.actor.ask("GET", f"/trainings/{self.id}/")

    def checkpoints(self) -> list[dict[str, Any]]:
        return self.actor.ask("GET", f"/models/{self.model}/checkpoints/")

    def await_round(self, round: int) -> None:
        """Wait until the model has come to this round."""
        self.wait(lambda: self.checkpoints()[-1]["round"] >= round)

    def await_all_but_the_last(self) -> None:
        """Wait for the moment: all others have answered what the last was asked."""
        self.wait(self.gate.reached.is_set)
        kind, at = self.moment
        others = len(self.participants) - 1
        self.wait(lambda: self._answers(kind, at) == others)

    def _answers(self, kind: str, round: int | None) -> int:
        if kind == UPDATE:
            return int(self.state()["local_models_arrived"])
        return sum(1 for metric in self.metrics() if metric["step"] == round)

    def metrics(self) -> list[dict[str, Any]]:
        return self.actor.ask("GET", f"/models/{self.model}/metrics/")

    def leave_out(self, number: int, *, updates_from: int, tests_from: int) -> None:
        """Expect nothing of a participant from these rounds on."""
        for at in range(updates_from, self.rounds):
            self.contributors[at] -= {number}
        for at in range(tests_from, self.rounds + 1):
            self.testers[at] -= {number}

    def finish(self) -> None:
        """Let everybody come to the end."""
        self.let_go()
        self.wait(lambda: self.state()["state"] in "CE")
        state = self.state()
        assert (state["state"], state["state_reason"]) == ("C", "")
        self.wait(lambda: all(participant.is_done for participant in self.participants))

    def check(self) -> None:
        """All advanced exactly once, and everybody was told everything in order."""
        checkpoints = self.checkpoints()
        assert [row["round"] for row in checkpoints] == list(range(self.rounds + 1))
        assert checkpoints[-1]["attempt"] == self.attempt
        for row in checkpoints[1:]:
            assert self._owners(row) == sorted(self.contributors[row["round"] - 1])
        self._check_metrics()
        for participant in self.participants:
            assert participant.refusals == []
            self._check_told(participant)

    def _owners(self, checkpoint: dict[str, Any]) -> list[int]:
        numbers = {p.person.id: p.number for p in self.participants}
        return sorted(numbers[update["owner"]] for update in checkpoint["updates"])

    def _check_metrics(self) -> None:
        numbers = {p.person.id: p.number for p in self.participants}
        rows = [
            (metric["step"], numbers[metric["reporter"]], metric["value_float"])
            for metric in self.metrics()
            if metric["reporter"] in numbers
        ]
        expected = [
            (step, number, stored_metric(step, number))
            for step, testers in self.testers.items()
            for number in testers
        ]
        assert sorted(rows) == sorted(expected)

    def _check_told(self, participant: Participant) -> None:
        """Messages come at least once; leaving repeats out, each came in its turn."""
        told = list(dict.fromkeys(participant.told))
        if (REMOVED, None) in told:
            assert told == [*steps(self.rounds)[: len(told) - 1], (REMOVED, None)]
        else:
            assert told == [step for step in steps(self.rounds) if step not in participant.misses]

    def hashes(self) -> list[str]:
        """Return the hash of the model's file at each round; the last is what is served."""
        answer = self.actor.session.get(
            f"{self.actor.url}/api/models/{self.model}/", timeout=PATIENCE
        )
        found = [row["sha256"] for row in self.checkpoints()]
        assert answer.headers["ETag"] == f'"{found[-1]}"'
        return found


@contextmanager
def running(
    cast: Cast,
    *,
    rounds: int = ROUNDS,
    moment: Message = (UPDATE, MIDDLE),
    numbers: frozenset[int] | None = None,
    revive: Callable[[], object] = lambda: None,
    **options: Any,
) -> Iterator[Running]:
    """Start a training of the cast, or of those with these numbers, and have them take part."""
    numbers = frozenset(range(len(cast.people))) if numbers is None else numbers
    people = {number: cast.people[number] for number in sorted(numbers)}
    model = cast.actor.upload_model(stored_model())
    training = cast.actor.open_training(model, list(people.values()), rounds, options=options)
    model = cast.actor.ask("GET", f"/trainings/{training}/")[
        "model"
    ]  # a clone if that was repeated
    participants = [
        Participant(number, person, training, model, cast.inboxes)
        for number, person in people.items()
    ]
    participants[-1].gates[moment] = Gate()
    contributors = dict.fromkeys(range(rounds), numbers)
    testers = dict.fromkeys(range(1, rounds + 1), numbers)
    one = Running(
        cast, training, model, participants, rounds, moment, revive,
        contributors=contributors, testers=testers,
    )  # fmt: skip
    try:
        for participant in participants:
            participant.start()
        _start(cast.actor, training)
        yield one
    finally:
        one.last_answers(None)
        for participant in participants:
            participant.end()


def _start(actor: Person, training: str) -> None:
    """Start the training; where that had to be repeated, it may have been started before."""
    answer = actor.session.post(f"{actor.url}/api/trainings/{training}/start/", timeout=PATIENCE)
    assert answer.status_code == 202 or answer.was_repeated, answer.text
