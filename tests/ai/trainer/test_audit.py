"""What a training does by itself, in the audit log."""

import pytest

from fl_server_core.models import Act
from tests.ai.conftest import any_file


@pytest.fixture
def acts(training):
    """Return the training's acts since the last time, as codes with these details."""
    seen = 0

    def call(*names):
        nonlocal seen
        rows = Act.objects.filter(object_id=str(training.pk), pk__gt=seen)
        assert all(row.user_id is None for row in rows)
        told = [(row.code, *(row.details[name] for name in names)) for row in rows]
        seen = Act.objects.last().pk
        return told

    return call


def test_rounds_and_the_end_are_acts_and_answers_are_none(training, move, play, acts):
    move("start")
    assert acts("round") == [("training.started", 0)]
    play(2)
    assert acts("round") == [
        ("training.round_merged", 0),
        ("training.round_merged", 1),
        ("training.completed", 2),
    ]


def test_a_merged_round_tells_of_how_many_updates(participants, move, update, merge, acts):
    move("start")
    for user in participants:
        update(user)
    acts()
    merge()
    assert acts("updates") == [("training.round_merged", 2)]


def test_a_failure_is_the_servers_and_a_stop_is_not(participants, training, move, update, acts):
    move("start")
    for user in participants:
        update(user)
    acts()
    move("fail_merge", move("claim_merge", 0, 0), "the updates differ")
    assert acts("reason") == [("training.failed", "unmergeable")]
    move("resume")
    move("stop")
    assert [code for code, *_ in acts()] == ["training.resumed", "training.stopped"]


def test_a_participant_that_refuses_or_is_not_reached_is_lost(training, participants, move, acts):
    training.options = {"round": {"quorum": 1}}
    training.save()
    move("start")
    acts()
    call = training.notifications.get(receiver=participants[0], type="UPDATE_ROUND_START")
    move("give_up_on", call, "HTTP 404", refused=True)
    lost = ("training.client_lost", str(participants[0].pk))
    assert acts("user") == [lost, ("training.client_removed", str(participants[0].pk))]
    call = training.notifications.get(receiver=participants[1], type="UPDATE_ROUND_START")
    move("give_up_on", call, "ConnectionError", refused=False)
    assert [code for code, *_ in acts()] == ["training.client_lost", "training.failed"]


def test_a_round_that_is_repeated(training, participants, move, acts):
    training.options = {"round": {"round_retries": 1}}
    training.save()
    move("start")
    acts()
    call = training.notifications.get(receiver=participants[0], type="UPDATE_ROUND_START")
    move("give_up_on", call, "ConnectionError", refused=False)
    assert acts()[-1] == ("training.round_repeated",)


def test_moments_that_are_merged(training, participants, move, update, merge, acts):
    training.uncertainty_method = "SWAG"
    training.save()
    move("start")
    for user in participants:
        update(user)
    merge()
    for user in participants:
        files = {"first": any_file(), "second": any_file()}
        move("receive_moments", owner=user, round=1, sample_size=3, **files)
    acts()
    move("complete_swag", move("claim_merge", 1, 0), any_file(), any_file())
    assert acts("round") == [("training.moments_merged", 1)]


def test_going_back_and_asking_again(training, move, play, acts):
    training.target_num_updates = 5
    training.save()
    move("start")
    play(1)
    acts()
    move("ask_again")
    assert acts("asked") == [("training.asked_again", 2)]
    play(1)
    acts()
    version = training.model.checkpoints.get(round=1)
    move("roll_back", version.pk)
    assert acts("round", "to_round") == [("training.rolled_back", 2, 1)]


def test_participants_who_come_and_go(training, participants, move, acts, django_user_model):
    new = django_user_model.objects.create(username="new")
    move("add_participants", [new, participants[0]])
    move("remove_participants", [new])
    gone = str(new.pk)
    told = [("training.client_added", gone, "new"), ("training.client_removed", gone, "new")]
    assert acts("user", "name") == told
