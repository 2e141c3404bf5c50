"""Stopping, resuming, going back; the versions that a training leaves; early stops."""

import uuid

import pytest

from fl_server_ai.trainer.lease import ClaimLost
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Checkpoint, LocalModel, Metric
from fl_server_core.models.training import ReasonCode
from tests.ai.conftest import any_file, told
from tests.factories import TrainingFactory, UserFactory


@pytest.fixture(autouse=True)
def _uploaded(training):
    training.model.file = "uploaded"
    training.model.save()


def versions(training, **filters):
    return list(training.model.checkpoints.filter(**filters))


# --- Stop and resume ----------------------------------------------------------------


def test_a_stopped_training_is_in_error_with_that_reason_and_calls_nobody(training, move):
    move("start")
    move("stop")
    assert (training.state, training.state_reason) == ("E", "Stopped by its actor.")
    assert not training.notifications.pending().filter(type="UPDATE_ROUND_START").exists()


@pytest.mark.parametrize("state", ["I", "C", "E"])
def test_only_a_running_training_is_stopped(training, move, state):
    training.state = state
    training.save()
    with pytest.raises(InvalidRequest, match=f"Training {training.pk} is not running!"):
        move("stop")


def test_a_merge_under_way_is_dropped_by_a_stop(training, participants, move, update):
    move("start")
    for user in participants:
        update(user)
    claim = move("claim_merge", 0, 0)
    move("stop")
    with pytest.raises(ClaimLost):
        move("complete_merge", claim, any_file())
    with pytest.raises(ClaimLost):
        claim.renew()
    assert training.model.round == 0


def test_a_resumed_round_asks_those_alone_who_have_not_answered(
    training, participants, move, update
):
    move("start")
    update(participants[0])
    training.notifications.filter(receiver=participants[0]).update(next_attempt_at=None)
    move("stop")
    move("resume")
    assert (training.state, training.state_reason, training.attempt) == ("O", "", 0)
    due = training.notifications.due().filter(type="UPDATE_ROUND_START")
    assert [message.receiver for message in due] == [participants[1]]
    update(participants[1])
    assert len(move("claim_merge", 0, 0).merge.updates) == 2


def test_a_round_whose_answers_are_all_there_is_merged_on_resuming(
    training, participants, move, update, sent, django_capture_on_commit_callbacks
):
    move("start")
    for user in participants:
        update(user)
    move("fail", ReasonCode.UNMERGEABLE, "the disk was full")
    with django_capture_on_commit_callbacks(execute=True):
        move("resume")
    assert ("merge_round", str(training.pk), 0, 0) in sent


@pytest.mark.parametrize("phase", ["test", "swag"])
def test_a_training_is_resumed_in_the_phase_it_ended_in(
    training, participants, move, update, merge, phase
):
    training.uncertainty_method = "SWAG" if phase == "swag" else "NONE"
    training.save()
    move("start")
    for user in participants:
        update(user)
    merge()
    before = training.state
    move("stop")
    move("resume")
    assert (training.phase, training.state, training.model.round) == (phase, before, 1)


def test_a_lost_participant_counts_again_after_resuming(training, participants, move, update):
    move("start")
    call = participants[1].notifications.get(type="UPDATE_ROUND_START")
    move("give_up_on", call, "ConnectionError", refused=False)
    assert training.state == "E"
    move("resume")
    for user in participants:
        update(user)
    assert len(move("claim_merge", 0, 0).merge.updates) == 2


def test_whoever_came_while_a_training_was_stopped_is_asked_where_nobody_else_is_left(
    training, participants, move
):
    move("start")
    move("remove_participants", participants)
    assert training.state == "E"
    new = UserFactory()
    move("add_participants", [new])
    move("resume")
    assert training.state == "O"
    assert told(new) == [("TRAINING_START", None), ("UPDATE_ROUND_START", 0)]


def test_whoever_came_while_a_training_was_stopped_is_asked_where_too_few_are_left(
    training, participants, move, update
):
    training.options = {"round": {"quorum": 2}}
    training.save()
    move("start")
    update(participants[0])
    move("remove_participants", [participants[1]])
    assert training.state == "E"
    new = UserFactory()
    move("add_participants", [new])
    move("resume")
    assert (training.state, training.attempt) == ("O", 1)
    for user in (participants[0], new):
        assert told(user)[-1] == ("UPDATE_ROUND_START", 0)
        update(user)
    assert len(move("claim_merge", 0, 1).merge.updates) == 2


def test_early_updates_outlast_a_test_that_is_resumed_with_others(
    training, participants, move, update, merge, report
):
    move("start")
    for user in participants:
        update(user)
    merge()
    update(participants[0])
    move("remove_participants", participants)
    new = UserFactory()
    move("add_participants", [new])
    move("resume")
    move("add_participants", [participants[0]])
    report(new)
    update(new)
    assert training.attempt == 1
    assert {row.owner for row in move("claim_merge", 1, 1).merge.updates} == {participants[0], new}


def test_only_a_training_in_error_is_resumed(training, move):
    move("start")
    with pytest.raises(InvalidRequest, match=f"Training {training.pk} is not in state ERROR!"):
        move("resume")


# --- Checkpoints --------------------------------------------------------------------


def test_every_version_is_kept_with_what_it_was_made_of(training, participants, move, play):
    move("start")
    play(2)
    kept = versions(training)
    assert [version.round for version in kept] == [0, 1, 2]
    assert (kept[2].file, kept[2].sha256) == (training.model.file, training.model.sha256)
    for version in kept[1:]:
        merged = {(row.owner, row.round) for row in version.updates.all()}
        assert merged == {(user, version.round - 1) for user in participants}
        assert all(row.sha256 for row in version.updates.all())
    assert not kept[0].updates.exists()


@pytest.mark.parametrize(
    ("wanted", "stored"),
    [
        ({"last": 2}, [4, 5]),
        ({"last": 1, "every": 2}, [0, 2, 4, 5]),
        ({"last": 1, "best": {"metric": "accuracy"}}, [3, 5]),
        ({"last": 1, "best": {"metric": "accuracy", "goal": "min"}}, [1, 5]),
        ({}, [3, 4, 5]),
    ],
)
def test_files_of_versions_nobody_wants_are_dropped(long, move, play, settings, wanted, stored):
    settings.FL_KEEP_CHECKPOINTS = 3
    long.options = {"checkpoints": wanted}
    long.save()
    move("start")
    play(5, [0.1, 0.5, 0.9, 0.3, 0.2])
    assert [version.round for version in Checkpoint.objects.stored()] == stored
    assert [version.round for version in versions(long)] == [0, 1, 2, 3, 4, 5]


def test_moments_are_kept_with_their_version(training, participants, move, update, merge):
    training.uncertainty_method = "SWAG"
    training.save()
    move("start")
    for user in participants:
        update(user)
    merge()
    for user in participants:
        files = {"first": any_file(), "second": any_file()}
        move("receive_moments", owner=user, round=1, sample_size=1, **files)
    move("complete_swag", move("claim_merge", 1, 0), any_file("first"), any_file("second"))
    first, second = versions(training)
    assert (first.swag_first_moment.name, first.swag_second_moment.name) == ("", "")
    assert (second.swag_first_moment.name, second.swag_second_moment.name) == ("first", "second")


# --- Going back ---------------------------------------------------------------------


def test_a_training_taken_back_goes_on_from_that_version(long, participants, move, play, back):
    move("start")
    play(3)
    then = versions(long, round=1)[0]
    back(1)
    assert (long.state, long.phase, long.attempt, long.model.round) == ("O", "update", 1, 1)
    assert (long.model.file, long.model.sha256) == (then.file, then.sha256)
    assert told(participants[0], attempt=1) == [("UPDATE_ROUND_START", 1)]
    play(1)
    assert [(version.round, version.attempt) for version in versions(long)] == [
        *((number, 0) for number in range(4)),
        (2, 1),
    ]


def test_no_answer_from_before_counts_after_going_back(
    long, participants, move, play, update, back
):
    move("start")
    play(1)
    update(participants[0])
    back(1)
    update(participants[1])
    assert move("claim_merge", 1, 1) is None
    assert LocalModel.objects.visible().count() == 1


def test_a_merge_under_way_is_dropped_by_going_back(long, participants, move, play, update, back):
    move("start")
    play(1)
    for user in participants:
        update(user)
    claim = move("claim_merge", 1, 0)
    back(0)
    with pytest.raises(ClaimLost):
        move("complete_merge", claim, any_file())
    assert long.model.round == 0


def test_metrics_of_a_step_gone_through_again_replace_the_former(long, move, play, back):
    move("start")
    play(2, [0.1, 0.2])
    back(1)
    play(1, [0.8])
    shown = Metric.objects.current().order_by("step").values_list("step", "value_float")
    assert list(shown) == [(1, 0.1), (1, 0.1), (2, 0.8), (2, 0.8)]


@pytest.mark.parametrize("ended", ["stop", "finish"])
def test_a_training_that_has_ended_can_be_taken_back(training, move, play, back, ended):
    move("start")
    play(1)
    move(ended)
    back(0)
    assert (training.state, training.state_reason, training.model.round) == ("O", "", 0)


def test_whoever_came_after_the_end_is_told_of_the_start_when_a_training_is_taken_back(
    training, participants, move, play, back
):
    move("start")
    play(2)
    assert training.state == "C"
    new = UserFactory()
    move("add_participants", [new])
    back(1)
    assert told(new) == [("TRAINING_START", None), ("UPDATE_ROUND_START", 1)]
    assert told(participants[0]).count(("TRAINING_START", None)) == 1


def test_there_is_no_way_back_before_the_start(training, move):
    with pytest.raises(InvalidRequest, match="is in state I"):
        move("roll_back", uuid.uuid4())


def test_only_to_a_version_of_the_own_model_that_is_stored_leads_a_way_back(training, move):
    other = TrainingFactory().model.checkpoints.create(round=0, attempt=0, size=1, file="x")
    move("start")
    gone = versions(training)[0]
    Checkpoint.objects.filter(pk=gone.pk).update(file="")
    for checkpoint in (other, gone):
        with pytest.raises(InvalidRequest, match=f"Checkpoint {checkpoint.pk} is none of"):
            move("roll_back", checkpoint.pk)


# --- Early stops --------------------------------------------------------------------


@pytest.fixture
def stop_when(long):
    def call(**wanted):
        long.options = {"round": {"stop_when": {"metric": "accuracy", **wanted}}}
        long.save()

    return call


@pytest.mark.parametrize(
    ("wanted", "values", "reason"),
    [
        ({"value": 0.9}, [0.5, 0.9], "the mean of accuracy has reached 0.9."),
        ({"value": 0.2, "goal": "min"}, [0.5, 0.2], "the mean of accuracy has reached 0.2."),
        ({"patience": 2}, [0.5, 0.6, 0.6, 0.3], "accuracy hasn't improved for 2 rounds."),
        ({"patience": 1, "goal": "min"}, [0.5, 0.4, 0.4], "accuracy hasn't improved for 1 rounds."),
        (
            {"patience": 1, "min_delta": 0.1},
            [0.5, 0.7, 0.75],
            "accuracy hasn't improved for 1 rounds.",
        ),
    ],
)
def test_a_training_stops_when_it_has_learned_enough(
    long, participants, move, play, stop_when, wanted, values, reason
):
    stop_when(**wanted)
    move("start")
    play(len(values) - 1, values)
    assert long.state == "O"
    play(1, values[-1:])
    assert (long.state, long.state_reason) == ("C", f"Stopped early: {reason}")
    assert long.model.round == len(values)
    assert told(participants[0])[-1] == ("TRAINING_FINISHED", None)


def test_a_metric_that_nobody_reports_stops_nothing(long, move, play, stop_when):
    stop_when(value=0.1, patience=1, metric="loss")
    move("start")
    play(3)
    assert long.state == "O"
