"""What the record of a training says, after what its participants did."""

import pytest

from fl_server_ai.trainer.record import RecordReader
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Training
from tests.factories import UserFactory


@pytest.fixture
def read(training):
    def call(*rounds):
        return RecordReader(Training.objects.get(pk=training.pk), *rounds).read()

    return call


@pytest.fixture
def silent(read):
    """Return who has not answered what: `[(round, {name: reason})]` of a call's type."""

    def call(kind="UPDATE_ROUND_START"):
        calls = [asked for asked in read().calls if asked.type == kind]
        return [(one.round, {who.user: str(who.because) for who in one.missing}) for one in calls]

    return call


@pytest.fixture
def lose(training, move):
    """Have the call to somebody fail: `lose(user, "HTTP 410", refused=True)`."""

    def call(user, error, *, refused):
        calls = training.notifications.pending().requests().filter(receiver=user)
        move("give_up_on", calls.latest("sequence"), error, refused=refused)

    return call


@pytest.fixture
def at_the_deadline(training):
    """A round closes with whoever has answered when its time is over."""
    training.options = {"round": {"quorum": 1, "deadline_seconds": 60}}
    training.save()


def test_a_version_has_the_updates_that_made_it(read, move, play, participants):
    move("start")
    play(2)
    first, *merged = read().versions
    assert (first.round, list(first.updates.all())) == (0, [])
    assert [version.round for version in merged] == [1, 2]
    for version in merged:
        assert {update.owner for update in version.updates.all()} == set(participants)
        assert version.metric_means == {"accuracy": 0.5}
    assert [(call.type, call.round, call.asked, call.missing) for call in read().calls] == [
        ("UPDATE_ROUND_START", 0, 2, []),
        ("MODEL_TEST_ROUND", 1, 2, []),
        ("UPDATE_ROUND_START", 1, 2, []),
        ("MODEL_TEST_ROUND", 2, 2, []),
    ]


def test_times_are_those_of_its_start_and_end(read, move, play):
    assert (read().started_at, read().ended_at) == (None, None)
    move("start")
    assert read().started_at is not None
    assert read().ended_at is None
    play(2)
    assert read().ended_at > read().started_at


def test_one_that_failed_ended_then(read, move, training):
    move("start")
    move("stop")
    assert read().ended_at == training.last_update


@pytest.mark.usefixtures("at_the_deadline")
def test_whoever_was_late_is_named(silent, move, update, overdue, merge, participants):
    move("start")
    update(participants[0])
    assert silent() == [(0, {participants[1]: "awaited"})]
    overdue()
    move("advance")
    assert silent() == [(0, {participants[1]: "missed"})]
    merge()
    assert silent("MODEL_TEST_ROUND") == [(1, dict.fromkeys(participants, "awaited"))]


@pytest.mark.usefixtures("at_the_deadline")
@pytest.mark.parametrize(
    ("error", "refused", "reason"),
    [("HTTP 410", True, "refused"), ("no answer", False, "lost")],
)
def test_whoever_could_not_be_called_is_named(
    silent, move, update, lose, participants, error, refused, reason
):
    move("start")
    lose(participants[1], error, refused=refused)
    update(participants[0])
    assert silent() == [(0, {participants[1]: reason})]


def test_an_answer_counts_although_the_call_was_lost(silent, move, update, lose, participants):
    move("start")
    update(participants[1])
    lose(participants[1], "no answer", refused=False)
    assert silent() == [(0, {participants[0]: "awaited"})]


def test_whoever_was_removed_is_named_unless_it_had_answered(
    silent, move, play, participants, training
):
    more = UserFactory()
    training.participants.add(more)
    move("start")
    move("remove_participants", [more])
    play(1)
    move("remove_participants", participants[:1])
    assert silent() == [
        (0, {more: "removed"}),
        (1, {participants[0]: "removed"} | {participants[1]: "awaited"}),
    ]


def test_calls_of_an_attempt_that_is_over_tell_how_far_they_came(
    silent, read, move, participants, training
):
    move("start")
    training.notifications.requests().filter(receiver=participants[0]).deliver()
    training.model.checkpoints.update(file="file")
    move("roll_back", training.model.checkpoints.get().pk)
    assert silent() == [
        (0, {participants[0]: "unanswered", participants[1]: "withdrawn"}),
        (0, dict.fromkeys(participants, "awaited")),
    ]
    assert [call.attempt for call in read().calls] == [0, 1]


def test_some_rounds_alone_may_be_read(read, move, play):
    move("start")
    play(2)
    some = read(1, 1)
    assert some.rounds == {"first": 1, "last": 1}
    assert [version.round for version in some.versions] == [1]
    assert {call.round for call in some.calls} == {1}


def test_one_that_moves_on_meanwhile_is_read_anew(read, move, monkeypatch):
    calls = RecordReader._calls

    def late(reader):
        monkeypatch.undo()
        move("start")
        return calls(reader)

    monkeypatch.setattr(RecordReader, "_calls", late)
    record = read()
    assert [version.round for version in record.versions] == [0]
    assert record.training.state == "O"


def test_a_record_that_would_be_too_long_is_refused(read, move, play, monkeypatch):
    """There are two versions, one of two updates, and two calls to test it and for each round."""
    move("start")
    play(1)
    for room in range(10):
        monkeypatch.setattr(RecordReader, "room", room)
        with pytest.raises(InvalidRequest, match="ask for fewer rounds"):
            read()
    monkeypatch.setattr(RecordReader, "room", 10)
    assert len(read().versions) == 2
