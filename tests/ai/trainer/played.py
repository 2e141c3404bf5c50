"""A training that a state machine plays with: each action is held against a reference."""

import sys
from contextlib import contextmanager, suppress
from uuid import UUID

from django.apps import apps
from django.db import transaction
from django.test import TestCase
from hypothesis.stateful import RuleBasedStateMachine

from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.lease import ClaimLost
from fl_server_core.exceptions import FLError
from fl_server_core.models import LocalModel, Notification, Training
from tests.ai.trainer.reference import REQUESTS, Reference
from tests.factories import ModelFactory, TrainingFactory

TRAINING, ACTOR = UUID(int=0), UUID(int=100)  # fixed: samples are drawn by the training's id


class Interrupted(Exception):
    """The process ends in the middle of a transaction."""


class PlayedTraining(RuleBasedStateMachine):
    """One training in a transaction that is rolled back at the end of the example.

    `world` has its `users` by id, and what was `sent` to the workers. `turn` is the token of the
    merge under way, `versions` are the rounds and attempts of the checkpoints there must be.
    """

    def __init__(self, world):
        super().__init__()
        self.world, self.example = world, None
        self.claims, self.turn = [], None
        self.versions, self.file = {(0, 0)}, "uploaded"
        self.loses_tasks = self.is_interrupted = False

    def open(self, participants, **fields):
        self.example = transaction.atomic()
        self.example.__enter__()
        self.world.sent.clear()
        actor = self.world.users[ACTOR]
        training = TrainingFactory(
            pk=TRAINING,
            actor=actor,
            model=ModelFactory(owner=actor, file=self.file),
            participants=list(participants),
            **fields,
        )
        self.book = Reference(training, participants)
        self.refresh()

    def teardown(self):
        if self.example is None:
            return
        try:
            if sys.exc_info()[0] is None:  # else an action has failed already
                self.play_to_the_end()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # --- What each action goes through -----------------------------------------------

    def act(self, method, *args, may_jump=False, takes_turn=False, **kwargs):
        """Call a transition; return what it returns, or the error that refuses it."""
        if self.is_interrupted:
            self.call_in_vain(method, *args, **kwargs)
        with self.followed(may_jump=may_jump):
            try:
                with ModelTrainer.locked(TRAINING) as trainer:
                    result = getattr(trainer, method)(*args, **kwargs)
            except (FLError, ClaimLost) as error:
                result = error
            if takes_turn and result is not None:
                self.turn = result.token
        return result

    def call_in_vain(self, method, *args, **kwargs):
        self.is_interrupted, before, tasks = False, all_rows(), list(self.world.sent)
        with (
            suppress(Interrupted, FLError, ClaimLost),
            TestCase.captureOnCommitCallbacks(execute=True),
            ModelTrainer.locked(TRAINING) as trainer,
        ):
            getattr(trainer, method)(*args, **kwargs)
            raise Interrupted
        assert all_rows() == before
        assert self.world.sent == tasks

    @contextmanager
    def followed(self, *, may_jump=False, keeps_tasks=False):
        if self.loses_tasks:
            self.world.sent.clear()
        with TestCase.captureOnCommitCallbacks(execute=True):
            yield
        if self.loses_tasks and not keeps_tasks:
            self.world.sent.clear()
        self.catch_up(may_jump=may_jump)

    def catch_up(self, *, may_jump=False):
        """See what has become of the training, and whether it should have."""
        before, step = self.training, self.book.step
        self._load()
        self.book.follow(self.training, self.messages, may_jump=may_jump)
        if not self.training.is_running or self.book.step != step:
            self.turn = None
        self.check()
        assert may_jump or self.training.round - before.round in (0, 1)
        self.book.watch(self.training, self.messages)

    def refresh(self):
        """See what the test has changed by itself."""
        self._load()
        self.book.watch(self.training, self.messages)

    def _load(self):
        self.training = Training.objects.select_related("model").get(pk=TRAINING)
        self.messages = list(Notification.objects.order_by("sequence"))

    # --- What is always so ----------------------------------------------------------

    def check(self):
        self.check_state()
        self.check_model()
        self.check_messages()

    def check_state(self):
        training, step = self.training, self.book.step
        has_limit = training.is_running and "deadline_seconds" in self.book.control
        assert (training.deadline is not None) == has_limit
        assert training.claim == self.turn
        assert (training.claim is None) == (training.claimed_until is None)
        assert training.claim is None or self.book.is_merged(step)
        if training.is_running:
            assert (training.phase, training.round, training.attempt) == step
            assert training.state == ("S" if step.phase == "swag" else "O")
            assert not training.state_reason
        else:
            assert training.state_reason or training.round == training.target_num_updates
            assert training.state_reason or training.state == "C"

    def check_model(self):
        training = self.training
        versions = training.model.checkpoints.values_list("round", "attempt")
        assert sorted(versions) == sorted(self.versions)
        assert training.model.file.name == self.file
        since = training.round - (1 if training.round % self.book.period else 0)
        kept = 1 if training.uncertainty_method == "ENSEMBLE" else 0
        for update in LocalModel.objects.filter(round__lt=since):
            assert update.closed_at
            assert not update.file or update.round >= since - kept

    def check_messages(self):
        places = [(row.receiver_id, row.sequence) for row in self.messages]
        assert len(set(places)) == len(places)
        asked = [row for row in self.messages if row.type in REQUESTS]
        whats = {(row.receiver_id, row.type, row.round, row.attempt) for row in asked}
        assert len(whats) == len(asked)


def all_rows():
    """Return the content of all our tables."""
    tables = apps.get_app_config("fl_server_core").get_models(include_auto_created=True)
    return {table: list(table.objects.order_by("pk").values()) for table in tables}
