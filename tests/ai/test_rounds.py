"""Rounds that don't end in a merge and a test: daisy chains, SWAG, ensembles."""

import uuid
from collections import Counter

import pytest

from fl_server_ai.claims import ClaimLost
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.models import LocalModel, Moments
from fl_server_core.models.training import TrainingState
from tests.ai.conftest import any_file, told
from tests.factories import UserFactory


def handed_out(user, round):
    """Return the id of the model that the user was asked to train in this round."""
    return uuid.UUID(
        user.notifications.get(type="UPDATE_ROUND_START", round=round).body["global_model_uuid"]
    )


# --- Daisy chains -------------------------------------------------------------------


@pytest.fixture
def chain(training):
    """A chain of three local rounds to each of two merges."""
    training.options = {"daisy_chain_period": 3}
    training.target_num_updates = 6
    training.save()
    return training


def test_a_chain_merges_after_each_period_and_tests_after_merges_alone(
    chain, participants, move, update, report, merge
):
    move("start")
    for number in range(6):
        for user in participants:
            update(user)
        if number in (2, 5):
            merge()
            for user in participants:
                report(user)
    assert chain.state == TrainingState.COMPLETED
    assert told(participants[0]) == [
        ("TRAINING_START", None),
        ("UPDATE_ROUND_START", 0),
        ("UPDATE_ROUND_START", 1),
        ("UPDATE_ROUND_START", 2),
        ("MODEL_TEST_ROUND", 3),
        ("UPDATE_ROUND_START", 3),
        ("UPDATE_ROUND_START", 4),
        ("UPDATE_ROUND_START", 5),
        ("MODEL_TEST_ROUND", 6),
        ("TRAINING_FINISHED", None),
    ]


def test_a_permutation_hands_every_update_to_one_participant(chain, participants, move, update):
    move("start")
    updates = {update(user).pk for user in participants}
    assert {handed_out(user, 0) for user in participants} == {chain.model_id}
    assert {handed_out(user, 1) for user in participants} == updates
    rows = LocalModel.objects.filter(pk__in=updates).visible()
    assert rows.exclude(file="").count() == 2


def test_after_the_next_round_the_models_handed_out_are_a_ledger(chain, participants, move, update):
    move("start")
    first = [update(user).pk for user in participants]
    for user in participants:
        update(user)
    assert not LocalModel.objects.visible().filter(pk__in=first).exists()
    assert LocalModel.objects.visible().exclude(file="").count() == 2


def test_each_order_of_two_is_dealt_about_as_often(chain, participants, move, update):
    chain.options = {"daisy_chain_period": 60}
    chain.target_num_updates = 60
    chain.save()
    move("start")
    kept = Counter()
    for number in range(50):
        own = {user.pk: update(user).pk for user in participants}
        kept[handed_out(participants[0], number + 1) == own[participants[0].pk]] += 1
    assert min(kept.values()) > 8  # of 50; fewer come in one of a million runs


def test_with_more_participants_than_updates_the_rest_trains_the_global_model(
    chain, participants, move, update
):
    move("start")
    move("add_participants", [UserFactory()])
    for user in participants:
        update(user)
    models = Counter(handed_out(user, 1) for user in chain.participants.all())
    assert models[chain.model_id] == 1
    assert len(models) == 3


def test_within_a_chain_no_merge_is_due(chain, participants, move, update):
    move("start")
    update(participants[0])
    assert move("claim_merge", 0, 0) is None
    update(participants[1])
    assert move("claim_merge", 1, 0) is None


def test_a_removal_can_complete_a_round_of_a_chain(chain, participants, move, update):
    move("start")
    only = update(participants[0])
    move("remove_participants", [participants[1]])
    assert chain.model.round == 1
    assert handed_out(participants[0], 1) == only.pk


# --- SWAG ---------------------------------------------------------------------------


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
    assert (len(claim.moments), len(claim.updates)) == (2, 0)
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


# --- Ensembles ----------------------------------------------------------------------


def test_an_ensembles_last_updates_keep_their_files(
    training, participants, move, update, report, merge
):
    training.uncertainty_method = "ENSEMBLE"
    training.save()
    move("start")
    for _ in range(2):
        for user in participants:
            update(user)
        merge()
        for user in participants:
            report(user)
    assert training.state == TrainingState.COMPLETED
    kept = LocalModel.objects.exclude(file="")
    assert {row.round for row in kept} == {1}
    assert not kept.visible().exists()
