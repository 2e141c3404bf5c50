"""SWAG rounds: who gives the moments, and what they become."""

import pytest

from fl_server_ai.trainer.checkpoints import last_versions
from fl_server_ai.trainer.lease import ClaimLost
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.models import Checkpoint, Moments
from fl_server_core.models.training import TrainingState
from tests.ai.conftest import any_file, told
from tests.factories import UserFactory


@pytest.fixture
def swag(training, participants, move, update, merge):
    """A SWAG training whose first updates are merged."""
    training.uncertainty_method = "SWAG"
    training.save()
    move("start")
    for user in participants:
        update(user)
    merge()
    return training


@pytest.fixture
def send_moments(move):
    def send(user, *, round=1, name=""):
        move(
            "receive_moments",
            owner=user,
            round=round,
            sample_size=3,
            first=any_file(name and f"{name}-1"),
            second=any_file(name and f"{name}-2"),
        )

    return send


def test_a_swag_round_follows_the_merge_and_the_test_follows_that(
    swag, participants, move, send_moments
):
    assert (swag.state, swag.phase) == (TrainingState.SWAG_ROUND, "swag")
    for user in participants:
        send_moments(user)
    claim = move("claim_merge", 1, 0)
    assert (len(claim.merge.moments), len(claim.merge.updates)) == (2, 0)
    move("complete_swag", claim, any_file("first"), any_file("second"))
    assert (swag.state, swag.phase, swag.model.round) == (TrainingState.ONGOING, "test", 1)
    assert (swag.model.swag_first_moment, swag.model.swag_second_moment) == ("first", "second")
    assert told(participants[0])[2:] == [("SWAG_ROUND_START", 1), ("MODEL_TEST_ROUND", 1)]


def test_moments_replace_ones_own(swag, participants, send_moments):
    send_moments(participants[0], name="old")
    send_moments(participants[0], name="new")
    row = Moments.objects.get()
    assert (row.first, row.second) == ("new-1", "new-2")


def test_moments_are_taken_in_their_round_from_participants_alone(swag, participants, send_moments):
    with pytest.raises(InvalidRequest, match="is not currently in round 0"):
        send_moments(participants[0], round=0)
    with pytest.raises(PermissionDenied, match="not a participant"):
        send_moments(UserFactory())
    assert not Moments.objects.exists()


def test_moments_outside_of_a_swag_round_are_refused(training, participants, move, send_moments):
    move("start")
    with pytest.raises(InvalidRequest, match="is in state O"):
        send_moments(participants[0], round=0)


def test_an_update_in_a_swag_round_is_refused(swag, participants, update):
    with pytest.raises(InvalidRequest, match="is in state S"):
        update(participants[0])


def test_metrics_never_stand_in_for_moments(swag, participants, report):
    for user in participants:
        report(user)
    assert swag.phase == "swag"


def test_while_moments_are_merged_they_stay_what_they_are(swag, participants, move, send_moments):
    for user in participants:
        send_moments(user)
    move("claim_merge", 1, 0)
    with pytest.raises(InvalidRequest, match="is not currently in round 1"):
        send_moments(participants[0])


def test_merged_moments_count_once_and_lose_their_files(swag, participants, move, send_moments):
    for user in participants:
        send_moments(user)
    claim = move("claim_merge", 1, 0)
    move("complete_swag", claim, any_file(), any_file())
    with pytest.raises(ClaimLost):
        move("complete_swag", claim, any_file(), any_file())
    assert set(Moments.objects.values_list("first", "second")) == {("", "")}


def test_swag_rounds_of_a_chain_follow_merges(training, participants, move, update, merge):
    training.uncertainty_method = "SWAG"
    training.options = {"daisy_chain_period": 2}
    training.save()
    move("start")
    for user in participants:
        update(user)
    assert training.phase == "update"
    for user in participants:
        update(user)
    merge()
    assert training.phase == "swag"


# --- Who makes the moments ----------------------------------------------------------


@pytest.fixture
def swag_by(training, participants, move, update, merge):
    """A SWAG training with these moments' makers, its first updates merged."""

    def begin(who="auto", **round_options):
        training.uncertainty_method = "SWAG"
        training.options = {"uncertainty": {"swag": who}, "round": round_options}
        training.save()
        move("start")
        for user in participants:
            update(user)
        merge()
        return training

    return begin


@pytest.fixture
def refuse(move):
    """Let a participant answer the call for moments with an error status, as stock clients do."""

    def call(user, error="HTTP 500", *, refused=True):
        message = user.notifications.standing().get(type="SWAG_ROUND_START")
        move("give_up_on", message, error, refused=refused)

    return call


def test_whoever_refuses_a_swag_round_stays_a_participant(swag, participants, refuse, caplog):
    refuse(participants[0])
    assert swag.participants.count() == 2
    assert (swag.state, swag.phase) == (TrainingState.SWAG_ROUND, "swag")
    (line,) = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    for part in (swag.pk, participants[0].pk, "SWAG_ROUND_START", "HTTP 500"):
        assert str(part) in line


def test_without_whoever_refuses_the_others_moments_are_merged(
    swag, participants, refuse, send_moments, move
):
    refuse(participants[0])
    send_moments(participants[1])
    claim = move("claim_merge", 1, 0)
    assert [row.owner for row in claim.merge.moments] == [participants[1]]
    assert not claim.merge.versions


@pytest.mark.parametrize("refused", [True, False])
def test_where_nobody_gives_moments_they_are_those_of_the_merged_models(
    swag, participants, refuse, move, sent, refused, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        for user in participants:
            refuse(user, refused=refused)
    assert ("merge_round", str(swag.pk), 1, 0) in sent
    claim = move("claim_merge", 1, 0)
    assert [version.round for version in claim.merge.versions] == [1]
    assert (claim.merge.moments, claim.merge.updates) == ((), ())
    move("complete_swag", claim, any_file("first"), any_file("second"))
    assert (swag.phase, swag.attempt) == ("test", 0)
    assert told(participants[0])[-1] == ("MODEL_TEST_ROUND", 1)


def test_the_sweeper_finds_moments_the_server_has_to_make(swag, participants, refuse, move, sent):
    for user in participants:
        refuse(user)
    sent.clear()
    move("advance")
    assert move("claim_merge", 1, 0).merge.versions


def test_below_a_quorum_that_was_asked_for_moments_are_the_servers(
    swag_by, participants, refuse, send_moments, move
):
    swag_by(quorum=2)
    send_moments(participants[1])
    refuse(participants[0])
    claim = move("claim_merge", 1, 0)
    assert (len(claim.merge.versions), claim.merge.moments) == (1, ())


def test_clients_alone_give_moments_where_the_actor_wants_that(swag_by, participants, refuse, move):
    training = swag_by("clients")
    refuse(participants[0])
    assert training.state == TrainingState.ERROR
    name = participants[0].username
    assert training.state_reason == (
        "Round 1: only 1 of 2 participants can still answer. "
        f"It failed with {name} (SWAG_ROUND_START refused)."
    )


def test_nobody_is_asked_for_moments_that_the_server_makes(swag_by, participants, move):
    training = swag_by("server")
    assert (training.state, training.phase) == (TrainingState.SWAG_ROUND, "swag")
    assert not training.notifications.filter(type="SWAG_ROUND_START").exists()
    move("complete_swag", move("claim_merge", 1, 0), any_file(), any_file())
    assert training.phase == "test"


def test_a_stopped_training_goes_on_to_make_its_moments(swag_by, move):
    training = swag_by("server")
    move("stop")
    move("resume")
    assert move("claim_merge", 1, training.attempt).merge.versions


def test_moments_are_made_of_the_newer_versions_that_led_to_the_present_one(swag_by, training):
    swag_by("server")
    line = [(3, 0, "b"), (4, 0, "left behind"), (4, 1, "c"), (5, 0, "left behind"), (5, 2, "d")]
    for number, attempt, file in [(2, 0, "of the older half"), *line]:
        Checkpoint.objects.create(
            model=training.model, round=number, attempt=attempt, file=file, size=1
        )
    training.model.round = 5
    files = [version.file.name for version in last_versions(training)]
    assert files == ["d", "c", "b"]


# --- What is said of who failed -----------------------------------------------------


def test_a_training_without_participants_says_who_refused_what(training, participants, move):
    move("start")
    for user in participants:
        call = user.notifications.get(type="UPDATE_ROUND_START")
        move("give_up_on", call, "HTTP 404", refused=True)
    names = [user.username for user in participants]
    assert training.state_reason == (
        "No participant is left. It failed with "
        f"{names[0]} (UPDATE_ROUND_START refused), {names[1]} (UPDATE_ROUND_START refused)."
    )
    calls = training.notifications.filter(type="UPDATE_ROUND_START")
    assert {call.error for call in calls} == {"HTTP 404"}


def test_of_many_who_failed_three_are_named(training, move):
    people = UserFactory.create_batch(5, message_endpoint="http://client.test/")
    training.participants.set(people)
    move("start")
    for user in people:
        call = user.notifications.get(type="UPDATE_ROUND_START")
        move("give_up_on", call, "HTTP 500", refused=True)
    assert training.state_reason.endswith(", 2 more.")
    assert training.state_reason.count("(UPDATE_ROUND_START refused)") == 3
