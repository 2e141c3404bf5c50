"""Whatever happens to a training, in whatever order: what must be so then.

`FL_TEST_EXAMPLES=5000 pytest tests/ai/test_state_machine.py` looks further, at random.
"""

import logging
import os
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import hypothesis.strategies as st
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from fl_server_ai import sweeper
from fl_server_ai.notification import delivery, outbox
from fl_server_ai.notification.delivery import deliver
from fl_server_ai.notification.posting import Unreachable
from fl_server_ai.trainer.lease import ClaimLost
from fl_server_ai.trainer.trainer import ENQUEUED_LOST
from fl_server_core.models import LocalModel, Model, Notification, Training
from tests.ai.conftest import any_file
from tests.ai.trainer.played import ACTOR, TRAINING, PlayedTraining
from tests.ai.trainer.reference import Step, step_of
from tests.factories import UserFactory

EXAMPLES = int(os.environ.get("FL_TEST_EXAMPLES", "0"))
MERGE_ATTEMPTS = 3
PEOPLE = [UUID(int=number) for number in range(1, 7)]
WITH_ENDPOINT = PEOPLE[::2]

some, reached = st.sampled_from(PEOPLE), st.sampled_from(WITH_ENDPOINT)
groups = st.sets(some, min_size=1, max_size=2)
rounds = st.sampled_from([0, 0, 0, -1, 1])  # the present one, the one before, the next
contents = st.sampled_from("ab")
posts = st.sampled_from(["accepted", "refused", "unreachable"])
choices = st.integers(0, 99)
goals = st.sampled_from([{"value": 0.9}, {"patience": 1}, {"patience": 1, "goal": "min"}])
controls = st.fixed_dictionaries(
    {},
    optional={
        "quorum": st.sampled_from([1, 2, 0.5]),
        "deadline_seconds": st.just(24 * 3600),
        "round_retries": st.integers(0, 2),
        "late_updates": st.sampled_from(["reject", "discard"]),
        "stop_when": goals.map(lambda goal: {"metric": "accuracy"} | goal),
    },
)
samples = st.fixed_dictionaries(
    {"sample": st.sampled_from([2, 0.5])}, optional={"over_selection": st.just(1.5)}
)
uncertainties = st.sampled_from(
    [("NONE", {}), ("ENSEMBLE", {}), ("SWAG", {})]
    + [("SWAG", {"uncertainty": {"swag": who}}) for who in ("clients", "server", "auto")]
)
shapes = st.one_of(
    samples.map(lambda sample: (sample, {})),
    st.sampled_from([0, 1, 2]).map(lambda period: ({}, {"daisy_chain_period": period})),
)


class TrainingMachine(PlayedTraining):
    """A training, its participants, its workers, its sweeper and its actor."""

    # --- Beginning and end ----------------------------------------------------------

    @initialize(
        participants=st.sets(some, min_size=1, max_size=5),
        merges=st.integers(1, 3),
        control=controls,
        shape=shapes,
        method=st.sampled_from(["FedAvg", "FedProx", "FedDC"]),
        uncertainty=uncertainties,
        loses_tasks=st.booleans(),
    )
    def begin(self, participants, merges, control, shape, method, uncertainty, loses_tasks):
        sample, chain = shape
        uncertainty, moments = uncertainty
        options = {"round": control | sample} | chain | moments
        self.open(
            participants,
            target_num_updates=merges * (chain.get("daisy_chain_period") or 1),
            options=options,
            aggregation_method=method,
            uncertainty_method=uncertainty,
        )
        self.loses_tasks, self.calls = loses_tasks, []
        self.world.post = self.meet
        self.act("start")

    def play_to_the_end(self):
        """Let everybody do their part: a training that can go on comes to its end."""
        self.add(set(PEOPLE[:3]))  # more than any quorum
        for _ in range(40):
            if self.training.state == "C":
                return
            if self.training.state == "E":
                self.resume()
            self.go_on()
        raise AssertionError(f"no end in sight: {vars(self.training)}")

    # --- Participants ---------------------------------------------------------------

    @precondition(lambda self: self.training.is_running)
    @rule(user=some, offset=rounds, content=contents)
    def upload(self, user, offset, content):
        number = self.training.round + offset
        if number < 0:
            return
        counts = self.book.takes_update(self.training, user, number)
        if counts:
            step = Step("update", number, self.training.attempt)
            self.book.answers[step][user] = content
        result = self.act(
            "receive_update",
            owner=self.world.users[user],
            round=number,
            sample_size=1,
            file=any_file(sha256=content),
        )
        assert isinstance(result, Model) == counts, result

    @precondition(lambda self: self.book.has_swag)
    @rule(user=some, offset=rounds, content=contents)
    def send_moments(self, user, offset, content):
        number = self.training.round + offset
        counts = self.book.takes_moments(self.training, user, number)
        if counts:
            self.book.answers[self.book.step][user] = content
        result = self.act(
            "receive_moments",
            owner=self.world.users[user],
            round=number,
            sample_size=1,
            first=any_file(sha256=content),
            second=any_file(sha256=content),
        )
        assert (result is None) == counts, result

    @rule(user=some, value=st.sampled_from([0.1, 0.5, 1.0]))
    def report(self, user, value):
        step = Step("test", self.training.round, self.training.attempt)
        counts = self.book.takes_report(user)
        if counts:
            self.book.answers[step][user] = ""
        owner = self.training.model.owner
        seen = Model(pk=self.training.model_id, owner=owner)  # as it was once: of round 0
        result = self._report(user, seen, value)
        assert (result is None) == counts or self.book.step.phase != "test", result

    @precondition(lambda self: self.training.is_running)
    @rule(user=some, choice=choices)
    def report_on_an_update(self, user, choice):
        updates = list(LocalModel.objects.order_by("round", "attempt", "owner"))
        if updates:
            self._report(user, updates[choice % len(updates)], 0.5)

    def _report(self, user, model, value):
        metrics = [("accuracy", value)]
        reporter = self.world.users[user]
        return self.act("receive_metrics", model=model, reporter=reporter, metrics=metrics)

    @precondition(lambda self: self.training.is_running)
    @rule(choice=choices)
    def one_answers(self, choice):
        awaited = sorted(self.book.awaited())
        if awaited:
            self.answer(awaited[choice % len(awaited)])

    @precondition(lambda self: self.training.is_running)
    @rule(but=st.integers(0, 2))
    def all_answer(self, but):
        step = self.book.step
        for user in sorted(self.book.still_asked())[but:]:
            if self.training.is_running and self.book.step == step:
                self.answer(user)

    def answer(self, user):
        if self.book.step.phase == "test":
            self.report(user, 0.5)
        elif self.book.step.phase == "swag":
            self.send_moments(user, 0, "a")
        else:
            self.upload(user, 0, "a")

    @rule(users=groups)
    def add(self, users):
        self.book.add(users)
        self.act("add_participants", [self.world.users[user] for user in users])

    @rule(users=groups)
    def remove(self, users):
        self.book.remove(users)
        self.act("remove_participants", [self.world.users[user] for user in users])

    @precondition(lambda self: self.training.is_running and self.book.counted())
    @rule(choice=choices)
    def leave_after_answering(self, choice):
        answered = sorted(self.book.counted())
        self.remove({answered[choice % len(answered)]})

    # --- Deliveries -----------------------------------------------------------------

    @precondition(lambda self: self.training.is_running)
    @rule(user=reached, outcome=posts)
    def deliver(self, user, outcome):
        self.world.outcome = outcome
        with self.followed():
            deliver(TRAINING, user)

    @precondition(lambda self: self.training.is_running)
    @rule(user=reached)
    def lose(self, user):
        for _ in range(outbox.RETRIES + 1):
            self.make_due(user)
            self.deliver(user, "unreachable")

    def make_due(self, user):
        waiting = Notification.objects.filter(receiver=user, next_attempt_at__isnull=False)
        waiting.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    @precondition(lambda self: self.training.is_running)
    @rule(user=reached, is_late=st.booleans())
    def pick_up(self, user, is_late):
        """Take a message to be posted; `is_late`: from a worker that seems to have died."""
        if is_late:
            self.make_due(user)
        call = outbox.claim_next(TRAINING, user)
        if call:
            self.check_posted(call)
            self.calls.append(call)

    @precondition(lambda self: self.calls)
    @rule(choice=choices, outcome=posts)
    def put_down(self, choice, outcome):
        """Come back from posting a message: much may have happened meanwhile."""
        call = self.calls.pop(choice % len(self.calls))
        if outcome == "accepted":
            Notification.objects.filter(pk=call.pk).deliver()
        elif outcome == "unreachable" and call.deliveries <= outbox.RETRIES:
            outbox.retry_later(call, "ConnectionError")
        else:
            if outcome == "refused":
                self.refuse(call)
            self.act("give_up_on", call, outcome, refused=outcome == "refused")

    def meet(self, call):
        """Stand in for the participant's server; what was met before is committed by now."""
        self.catch_up()
        self.check_posted(call)
        if self.world.outcome == "unreachable":
            raise Unreachable("ConnectionError")
        if self.world.outcome == "refused":
            self.refuse(call)
            raise outbox.Refused("HTTP 500")

    def check_posted(self, call):
        earlier = Notification.objects.filter(receiver=call.receiver, sequence__lt=call.sequence)
        open_ones = earlier.filter(state="pending")
        assert not open_ones.exists(), "a message overtakes another"
        assert call.receiver_id in WITH_ENDPOINT

    def refuse(self, call):
        row = Notification.objects.get(pk=call.pk)
        is_settled = row.state != "pending"
        is_present = self.training.is_running and step_of(row) == self.book.step
        if is_present and row.type != "SWAG_ROUND_START" and not is_settled:
            self.book.remove({row.receiver_id})

    # --- Workers and their sweeper ----------------------------------------------------

    @precondition(lambda self: self.training.is_running)
    @rule()
    def claim(self):
        self.claim_round(self.training.round, self.training.attempt)

    def claim_round(self, number, attempt):
        training, book = self.training, self.book
        is_due = (
            training.is_running
            and (number, attempt) == (training.round, training.attempt)
            and book.is_merged(book.step)
            and (book.is_over() or book.server_steps_in())
            and not self.is_leased()
        )
        claim = self.act("claim_merge", number, attempt, takes_turn=True)
        gives_up = is_due and training.claims >= MERGE_ATTEMPTS
        assert (claim is not None) == (is_due and not gives_up)
        assert not gives_up or self.training.state == "E"
        if claim:
            self.claims.append(claim)
            got = {row.owner_id: row.sha256 for row in claim.merge.updates}
            got |= {row.owner_id: row.first_sha256 for row in claim.merge.moments}
            assert got == ({} if claim.merge.versions else book.to_merge())
            assert bool(claim.merge.versions) == book.server_steps_in()
            self.check_versions(claim.merge.versions)

    def check_versions(self, versions):
        """One a round, down from the present one, and never what the actor uploaded."""
        numbers = [version.round for version in versions]
        assert numbers == sorted(set(numbers), reverse=True)
        assert numbers[:1] in ([], [self.training.round])
        assert 0 not in numbers

    def is_leased(self):
        until = self.training.claimed_until
        return until is not None and until > timezone.now()

    @precondition(lambda self: self.claims)
    @rule(choice=choices)
    def complete(self, choice):
        claim = self.claims[choice % len(self.claims)]  # stays: it may be handed in again
        is_mine, files = claim.token == self.turn, [any_file(), any_file()]
        number, attempt = self.training.round, self.training.attempt
        if claim.merge.moments or claim.merge.versions:
            result = self.act("complete_swag", claim, *files)
        else:
            if is_mine:
                self.versions.add((number + 1, attempt))
                self.file = files[0].name
            result = self.act("complete_merge", claim, files[0])
            assert self.training.round == number + (1 if is_mine else 0)
        assert isinstance(result, ClaimLost) != is_mine

    @precondition(lambda self: self.claims)
    @rule(choice=choices)
    def fail_to_merge(self, choice):
        claim = self.claims[choice % len(self.claims)]
        is_mine = claim.token == self.turn
        result = self.act("fail_merge", claim, "the updates differ")
        assert isinstance(result, ClaimLost) != is_mine

    @precondition(lambda self: self.turn)
    @rule()
    def lease_runs_out(self):
        past = timezone.now() - timedelta(seconds=1)
        Training.objects.exclude(claim=None).update(claimed_until=past)
        self.refresh()

    @precondition(lambda self: self.training.deadline)
    @rule()
    def deadline_passes(self):
        past = timezone.now() - timedelta(seconds=1)
        Training.objects.update(deadline=past, check_at=past)
        self.refresh()

    @precondition(lambda self: self.training.is_running)
    @rule()
    def sweep(self):
        """Nothing that can go on stays where it is once the sweeper has been."""
        training, book, step = self.training, self.book, self.book.step
        is_due = training.is_running and not self.is_leased()
        is_due = is_due and (book.is_over() or book.is_hopeless())
        soon = timezone.now() + ENQUEUED_LOST
        assert not is_due or self.training.check_at <= soon, "the sweeper comes late"
        tasks = self.swept()
        self.check_dispatched(tasks)
        for _, *ids in [task for task in tasks if task[0] == "merge_round"]:
            self.claim_round(*ids[1:])
            if self.turn:
                self.complete(len(self.claims) - 1)
        assert not is_due or book.step != step or not self.training.is_running, "it hangs"

    def swept(self):
        """Sweep; return the tasks that this enqueues."""
        before = list(self.world.sent)
        self.world.sent.clear()
        Training.objects.update(check_at=timezone.now() - timedelta(seconds=1))
        with self.followed(keeps_tasks=True):
            sweeper.sweep()
        tasks = list(self.world.sent)
        self.world.sent[:0] = before
        return tasks

    def check_dispatched(self, tasks):
        due = Notification.objects.filter(next_attempt_at__lte=timezone.now())
        due = due.filter(state="pending")
        enqueued = {UUID(task[2]) for task in tasks if task[0] == "deliver"}
        assert set(due.values_list("receiver", flat=True)) <= enqueued

    @precondition(lambda self: self.world.sent)
    @rule(choice=choices, outcome=posts)
    def take_a_task(self, choice, outcome):
        """Do a task; it stays and may be taken again, at any time."""
        task, *ids = self.world.sent[choice % len(self.world.sent)]
        if task == "merge_round":
            self.claim_round(*ids[1:])
        elif task == "deliver":
            self.deliver(UUID(ids[1]), outcome)
        else:
            delivery.dispatch(UUID(ids[0]))

    @precondition(lambda self: self.training.is_running)
    @rule()
    def go_on(self):
        """Let the present phase come to its end."""
        self.all_answer(but=0)
        self.lease_runs_out()
        self.sweep()

    # --- The actor ------------------------------------------------------------------

    @precondition(lambda self: self.training.is_running)
    @rule()
    def ask_again(self):
        assert self.act("ask_again") == len(self.book.still_asked() - self.book.answered())

    @precondition(lambda self: self.training.is_running)
    @rule()
    def stop(self):
        self.act("stop")
        assert self.training.state_reason == "Stopped by its actor."

    @precondition(lambda self: self.training.state == "E")
    @rule()
    def resume(self):
        self.book.revive()
        assert self.act("resume", may_jump=True) is None

    @precondition(lambda self: self.training.round or not self.training.is_running)
    @rule(choice=choices)
    def roll_back(self, choice):
        kept = list(self.training.model.checkpoints.exclude(file="").order_by("attempt", "round"))
        checkpoint = kept[choice % len(kept)]
        self.file = checkpoint.file.name
        result = self.act("roll_back", checkpoint.pk, may_jump=True)
        assert result is None
        assert self.training.round == checkpoint.round

    @rule()
    def interrupt(self):
        """Let the next transaction be rolled back at its end, and be tried again."""
        self.is_interrupted = True


@pytest.fixture
def world(db, sent, monkeypatch, settings, caplog):
    """Everybody there is, and what goes out to workers and participants."""
    caplog.set_level(logging.CRITICAL)
    settings.FL_MERGE_ATTEMPTS = MERGE_ATTEMPTS
    for name in ("NOTIFY_RETRY", "NOTIFY_TIMEOUT", "MERGE_LEASE"):  # nothing runs out by itself
        setattr(settings, f"FL_{name}_SECONDS", 24 * 3600)
    url = "http://client.test/"
    users = {pk: UserFactory(pk=pk) for pk in [ACTOR, *PEOPLE] if pk not in WITH_ENDPOINT}
    users |= {pk: UserFactory(pk=pk, message_endpoint=url) for pk in WITH_ENDPOINT}
    world = SimpleNamespace(sent=sent, users=users, outcome="accepted")
    monkeypatch.setattr(outbox, "post", lambda call: world.post(call))
    return world


def test_whatever_happens_a_training_stays_sound_and_comes_to_its_end(world):
    run_state_machine_as_test(
        lambda: TrainingMachine(world),
        settings=settings(
            max_examples=EXAMPLES or 20,
            derandomize=not EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
