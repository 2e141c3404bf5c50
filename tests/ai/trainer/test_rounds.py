"""Rounds that don't end in a merge and a test: daisy chains, ensembles."""

import uuid
from collections import Counter

import pytest

from fl_server_core.models import LocalModel
from fl_server_core.models.training import TrainingState
from tests.ai.conftest import told
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


def test_each_order_of_two_comes_about_as_often(chain, participants, move, update):
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
