"""What a training and its participants still have to do, counted without the code that does so.

The state machine's test keeps this book of what it did itself; who is asked is read off the
messages as they come. Nothing here calls what it is held against.
"""

import math
from collections import defaultdict
from itertools import groupby
from typing import NamedTuple

from django.utils import timezone

REQUESTS = {
    "UPDATE_ROUND_START": "update",
    "SWAG_ROUND_START": "swag",
    "MODEL_TEST_ROUND": "test",
}


class Step(NamedTuple):
    """What a training waits for, of which round and attempt."""

    phase: str
    round: int
    attempt: int


def step_of(message):
    """Return what the message asks for."""
    return Step(REQUESTS.get(message.type), message.round, message.attempt)


class Reference:
    """The book of one training; users are ids."""

    def __init__(self, training, participants):
        self.control = training.options["round"]
        self.period = training.options.get("daisy_chain_period") or 1
        self.has_swag = training.uncertainty_method == "SWAG"
        self.moments_by = training.options.get("uncertainty", {}).get("swag", "auto")
        self.participants = set(participants)
        self.welcomed = set()  # since they joined
        self.step, self.sample = None, None
        self.drawn = set()  # with the attempt's last draw, but for those who have left since
        self.asked = defaultdict(set)
        self.gone = set()  # since the present step began
        self.answers = defaultdict(dict)  # by step and user: the hash of what counts
        self.sequence, self.is_overdue = 0, False

    # --- What was done --------------------------------------------------------------

    def add(self, users):
        self.participants |= users

    def remove(self, users):
        gone = self.participants & users
        self.participants -= gone
        self.gone |= gone
        self.drawn -= gone
        self.welcomed -= gone

    def revive(self):
        """Let all count again who were asked in the present step and take part."""
        self.gone -= self.participants
        self.drawn |= self.asked[self.step] & self.participants

    # --- What came of it ------------------------------------------------------------

    def watch(self, training, messages):
        """Note what only the moment before an action tells."""
        self.was_running = training.is_running
        self.is_overdue = training.deadline is not None and training.deadline <= timezone.now()
        self.lost, self.shut_out = set(), set()
        self._note_failures(messages)

    def _note_failures(self, messages):
        present = [row for row in messages if step_of(row) == self.step]
        self.lost |= {row.receiver_id for row in present if row.state == "failed"}
        self.shut_out |= {row.receiver_id for row in present if row.state == "missed"}

    def follow(self, training, messages, *, may_jump=False):
        """Go along with the new messages; only what the actor asks for may be a jump."""
        self._note_failures(messages)
        new = [row for row in messages if row.sequence > self.sequence]
        for sequence, group in groupby(new, key=lambda row: row.sequence):
            messages = list(group)
            receivers = {row.receiver_id for row in messages}
            assert len(messages) == len(receivers), "somebody is told the same thing twice"
            self.sequence = sequence
            self._read(messages[0], receivers, may_jump=may_jump)
        present = Step(training.phase, training.round, training.attempt)
        if training.state == "S" and self.moments_by == "server" and present != self.step:
            self._check_way(present, may_jump=may_jump)
            self._begin(present, set())  # which no message tells
        if training.state == "C" and self.was_running and not may_jump:
            self._check_end(self.step)
            assert self.step.phase == "test"
        was_ended = training.state == "E" and (self.was_running or may_jump)
        if was_ended and training.reason_code == "quorum_missed":
            ends = self.is_hopeless() and not self.server_steps_in()
            assert ends, "a training that could go on was ended"

    def _read(self, message, receivers, *, may_jump):
        if message.type == "TRAINING_START":
            assert receivers <= self.participants - self.welcomed
            self.welcomed |= receivers
        elif message.type in REQUESTS:
            step = step_of(message)
            assert receivers <= self.participants, "somebody is asked who takes no part"
            assert receivers <= self.welcomed, "somebody is asked before the start"
            assert not self.asked[step], "a step is gone through twice"
            if self.step:
                self._check_way(step, may_jump=may_jump)
            self._begin(step, receivers)

    def _begin(self, step, receivers):
        is_anew = not self.step or step.attempt != self.step.attempt or step.phase == "update"
        self.step, self.asked[step] = step, receivers
        self.gone, self.lost, self.shut_out, self.is_overdue = set(), set(), set(), False
        if is_anew:
            self.drawn = set()
        if self._asks_nobody():
            assert not receivers
        elif self.drawn and self.sample is not None:
            assert receivers == self.drawn, "a round asks others than it began with"
        else:
            self.sample, self.drawn = self._sample_of(len(self.participants)), set(receivers)
            assert len(receivers) == self._number_asked()

    def _check_way(self, new, *, may_jump):
        old = self.step
        if new.attempt == old.attempt:
            self._check_end(old)
            assert new == self._after(old)
            return
        assert new.attempt > old.attempt
        is_due = self.is_hopeless() and not self.server_steps_in()
        assert may_jump or (new[:2] == old[:2] and is_due), f"{old} was left"
        if new[:2] == old[:2] and new.phase != "update":  # what came early still counts
            early = self.answers[old._replace(phase="update")]
            self.answers[new._replace(phase="update")] = dict(early)

    def _check_end(self, step):
        if not self.is_merged(step):  # else that was looked at when it was claimed
            assert len(self.counted()) >= self.quorum(), f"{step} ended too early"

    def is_merged(self, step):
        return step.phase == "swag" or (
            step.phase == "update" and (step.round + 1) % self.period == 0
        )

    def _after(self, step):
        if step.phase != "update":
            return step._replace(phase="test" if step.phase == "swag" else "update")
        merged = "swag" if self.has_swag else "test"
        return Step(merged if self.is_merged(step) else "update", step.round + 1, step.attempt)

    # --- Counting the present step ----------------------------------------------------

    def still_asked(self):
        return (self.asked[self.step] & self.participants) - self.gone

    def answered(self):
        return self.answers[self.step].keys()

    def counted(self):
        return self.still_asked() & self.answered()

    def awaited(self):
        return self.still_asked() - self.answered() - self.lost

    def to_merge(self):
        """Return what a merge must be made of, by user."""
        may = self.participants if self.sample is None else self.still_asked()
        return {user: what for user, what in self.answers[self.step].items() if user in may}

    def target(self):
        asked = len(self.still_asked())
        return min(self.sample or asked, asked)

    def quorum(self):
        if self.step.phase == "swag" and self.moments_by == "auto" and "quorum" not in self.control:
            return 1
        return max(1, _count(self.control.get("quorum", self.target()), self.target()))

    def is_over(self):
        """Tell whether all is there that is waited for, or all that can come and enough."""
        count = len(self.counted())
        last = self.is_overdue or count >= self.target() or not self.awaited() - self.shut_out
        return last and count >= self.quorum()

    def is_hopeless(self):
        """Tell whether there can't be enough any more."""
        possible = self.counted() | (set() if self.is_overdue else self.awaited())
        return len(possible) < self.quorum()

    def server_steps_in(self):
        """Tell whether the server is to make the moments that nobody gives."""
        may = self.step.phase == "swag" and self.moments_by != "clients"
        return may and self.is_hopeless() and bool(self.participants)

    def _asks_nobody(self):
        return self.step.phase == "swag" and self.moments_by == "server"

    def _sample_of(self, present):
        share = self.control.get("sample")
        return None if share is None else min(present, _count(share, present))

    def _number_asked(self):
        present = len(self.participants)
        if self.sample is None:
            return present
        return min(present, math.ceil(self.sample * self.control.get("over_selection", 1)))

    # --- What can be handed in ------------------------------------------------------

    def takes_update(self, training, user, round):
        """Tell whether an update is to be counted."""
        if training.state != "O" or user not in self.participants or round != training.round:
            return False
        if self.step.phase != "update":
            return True
        in_time = user in self.answered() or not self.is_over()
        return self._is_open_to(user) and in_time and not training.claim

    def takes_moments(self, training, user, round):
        """Tell whether SWAG moments are to be counted."""
        present = user in self.participants and round == training.round
        return training.state == "S" and present and self._is_open_to(user) and not training.claim

    def takes_report(self, user):
        """Tell whether metrics on the global model are taken."""
        in_test = self.step.phase == "test" and self.still_asked()
        return not in_test or self._is_open_to(user)

    def _is_open_to(self, user):
        return self.sample is None or user in self.still_asked()


def _count(share, whole):
    return math.ceil(share * whole) if share < 1 else int(share)
