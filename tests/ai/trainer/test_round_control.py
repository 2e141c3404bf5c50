"""Rounds that don't wait for everybody: quorum, deadline, retries, samples, late updates."""

import math

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from fl_server_ai.trainer.phases.base import Phase
from fl_server_ai.trainer.sampling import select
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import StoredFile
from fl_server_core.models import LocalModel
from tests.ai.conftest import told
from tests.factories import TrainingFactory, UserFactory


@pytest.fixture
def people(training, participants):
    """Ten participants, the first two of them `participants`."""
    more = UserFactory.create_batch(8, message_endpoint="http://client.test/")
    training.participants.add(*more)
    return [*participants, *more]


@pytest.fixture
def control(training):
    """Set `options.round`."""

    def call(**options):
        training.options = {"round": options}
        training.save()

    return call


def asked(training):
    """Return who is asked for an update in the present round and attempt."""
    requests = training.notifications.filter(
        type="UPDATE_ROUND_START",
        round=training.model.round,
        attempt=training.attempt,
    ).standing()
    return [request.receiver for request in requests.select_related("receiver")]


# --- Quorum and deadline ------------------------------------------------------------


def test_a_quorum_does_not_end_a_round_before_its_deadline(people, control, move, update):
    control(quorum=0.5, deadline_seconds=60)
    move("start")
    for user in people[:9]:
        update(user)
    assert move("claim_merge", 0, 0) is None


@pytest.mark.parametrize(("quorum", "needed"), [(3, 3), (0.3, 3), (0.31, 4), (0.01, 1)])
def test_at_its_deadline_a_round_closes_with_its_quorum(
    people, control, move, update, overdue, quorum, needed
):
    control(quorum=quorum, deadline_seconds=60, round_retries=0)
    move("start")
    for user in people[: needed - 1]:
        update(user)
    update(people[needed])
    overdue()
    move("advance")
    assert len(move("claim_merge", 0, 0).merge.updates) == needed


def test_at_its_deadline_a_round_without_quorum_is_begun_anew(
    training, people, control, move, update, overdue
):
    control(quorum=2, deadline_seconds=60)
    move("start")
    update(people[0])
    overdue()
    move("advance")
    assert (training.state, training.attempt, training.model.round) == ("O", 1, 0)
    assert told(people[1], attempt=1) == [("UPDATE_ROUND_START", 0)]
    assert not told(people[1], attempt=0, type="UPDATE_ROUND_START")
    update(people[1])
    assert move("claim_merge", 0, 1) is None, "an answer of the first attempt counts"
    update(people[0])
    overdue()
    move("advance")
    assert len(move("claim_merge", 0, 1).merge.updates) == 2


def test_a_round_that_never_has_its_quorum_ends_the_training_with_a_reason(
    training, people, control, move, overdue
):
    control(quorum=3, deadline_seconds=60, round_retries=2)
    move("start")
    for _ in range(3):
        overdue()
        move("advance")
    reason = "Round 0: only 0 of 10 participants answered in time, 3 are needed."
    assert (training.state, training.attempt, training.state_reason) == ("E", 2, reason)


def test_retries_are_counted_anew_for_each_phase(
    training, people, control, move, update, merge, overdue
):
    control(quorum=1, deadline_seconds=60, round_retries=1)
    move("start")
    for phase in ("update", "test"):
        assert (training.phase, training.state) == (phase, "O")
        overdue()
        move("advance")
        if phase == "update":
            update(people[0])
            overdue()
            merge()
    assert (training.phase, training.state, training.attempt) == ("test", "O", 2)


def test_a_test_closes_at_its_deadline_too(
    training, people, control, move, update, merge, report, overdue
):
    control(quorum=1, deadline_seconds=60)
    move("start")
    update(people[0])
    overdue()
    merge()
    report(people[1])
    assert training.phase == "test"
    overdue()
    move("advance")
    assert (training.phase, training.model.round) == ("update", 1)


def test_an_early_update_survives_a_test_that_is_begun_anew(
    training, people, control, move, update, merge, report, overdue
):
    control(quorum=1, deadline_seconds=60)
    move("start")
    update(people[0])
    overdue()
    merge()
    update(people[3])
    overdue()
    move("advance")
    assert (training.phase, training.attempt) == ("test", 1)
    report(people[0])
    overdue()
    move("advance")
    overdue()
    assert [row.owner for row in move("claim_merge", 1, 1).merge.updates] == [people[3]]


def test_with_a_quorum_those_who_cannot_be_reached_are_not_waited_for(
    training, people, control, move, update
):
    control(quorum=8)
    move("start")
    for user in people[8:]:
        call = user.notifications.get(type="UPDATE_ROUND_START")
        move("give_up_on", call, "ConnectionError", refused=False)
    for user in people[:8]:
        update(user)
    assert training.state == "O"
    assert len(move("claim_merge", 0, 0).merge.updates) == 8


def test_fewer_than_the_quorum_within_reach_end_the_training(training, people, control, move):
    control(quorum=9)
    move("start")
    for user in people[8:]:
        call = user.notifications.get(type="UPDATE_ROUND_START")
        move("give_up_on", call, "ConnectionError", refused=False)
    assert training.state_reason.startswith("Round 0: only 8 of 10 participants can still answer. ")


def test_a_quorum_of_more_than_there_are_ends_the_training(training, people, control, move):
    control(quorum=11, round_retries=3)
    move("start")
    assert (training.state, training.attempt) == ("E", 3)


def test_whoever_was_silent_is_asked_again_in_the_next_round(
    training, people, control, move, update, merge, overdue
):
    control(quorum=1, deadline_seconds=60)
    move("start")
    update(people[0])
    overdue()
    merge()
    assert told(people[5])[-1] == ("MODEL_TEST_ROUND", 1)


def test_what_nobody_needs_any_more_is_no_longer_delivered(
    training, people, control, move, update, overdue
):
    control(quorum=1, deadline_seconds=60)
    move("start")
    update(people[0])
    overdue()
    move("advance")
    pending = training.notifications.pending().filter(type="UPDATE_ROUND_START")
    assert [request.receiver for request in pending] == [people[0]]


# --- Samples ------------------------------------------------------------------------


@pytest.mark.parametrize(("sample", "number"), [(4, 4), (0.4, 4), (0.41, 5), (40, 10)])
def test_a_sample_is_asked(training, people, control, move, sample, number):
    control(sample=sample)
    move("start")
    assert len(set(asked(training))) == number


def test_the_same_round_always_asks_the_same(training, people):
    training.options = {"round": {"sample": 3}}
    chosen = select(training, people)
    assert select(training, people[::-1]) == chosen
    training.attempt = 1
    choices = {frozenset(select(training, people))}
    for training.model.round in range(20):
        choices.add(frozenset(select(training, people)))
    assert len(choices) > 10


def test_over_many_rounds_everybody_is_asked_about_as_often(training, people):
    training.options = {"round": {"sample": 3}}
    counts = dict.fromkeys((user.pk for user in people), 0)
    for training.model.round in range(1000):
        for user in select(training, people):
            counts[user.pk] += 1
    # Binomial, mean 300: six standard deviations are 87.
    assert all(abs(count - 300) < 6 * math.sqrt(1000 * 0.3 * 0.7) for count in counts.values())


def test_a_sample_completes_a_round(training, people, control, move, update):
    control(sample=2)
    move("start")
    for user in asked(training):
        assert move("claim_merge", 0, 0) is None
        update(user)
    assert len(move("claim_merge", 0, 0).merge.updates) == 2


def test_whoever_is_not_in_the_sample_is_refused(training, people, control, move, update):
    control(sample=2)
    move("start")
    (other, *_) = [user for user in people if user not in asked(training)]
    with pytest.raises(InvalidRequest, match=f"not asked in round 0 of training {training.pk}"):
        update(other)
    assert not LocalModel.objects.exists()


def test_an_early_update_of_somebody_not_in_the_sample_is_not_merged(
    training, people, control, move, update, merge, report
):
    control(sample=2)
    move("start")
    for user in asked(training):
        update(user)
    merge()
    tested = [request.receiver for request in training.notifications.filter(round=1)]
    for user in people:
        update(user)
    for user in tested:
        report(user)
    updates = move("claim_merge", 1, 0).merge.updates
    assert {row.owner for row in updates} == set(asked(training))


def test_a_sample_that_is_removed_altogether_makes_room_for_another(
    training, people, control, move
):
    control(sample=2)
    move("start")
    first = asked(training)
    move("remove_participants", first)
    assert (training.state, training.attempt) == ("O", 1)
    assert len(set(asked(training)) - set(first)) == 2


def test_over_selection_asks_more_and_closes_with_the_samples_number(
    training, people, control, move, update
):
    control(sample=4, over_selection=1.5)
    move("start")
    chosen = asked(training)
    assert len(chosen) == 6
    for user in chosen[:4]:
        assert move("claim_merge", 0, 0) is None
        update(user)
    with pytest.raises(InvalidRequest, match="is not currently in round 0"):
        update(chosen[4])
    assert {row.owner for row in move("claim_merge", 0, 0).merge.updates} == set(chosen[:4])


def test_an_answer_of_a_sample_has_all_counted_only_if_it_may_reach_the_target(
    training, people, control, move, update, monkeypatch
):
    control(sample=4, over_selection=1.5)
    move("start")
    counts, count = [], Phase.quorum
    monkeypatch.setattr(Phase, "quorum", lambda phase: counts.append(phase.name) or count(phase))
    counted = []
    for user in asked(training)[:4]:
        counts.clear()
        update(user)
        counted.append(bool(counts))
    assert counted == [False, False, False, True]


def test_a_removal_lets_those_answer_without_whom_the_round_had_closed(
    training, people, control, move, update
):
    control(sample=2, over_selection=1.5)
    move("start")
    chosen = asked(training)
    for user in chosen[:2]:
        update(user)
    move("remove_participants", [chosen[0]])
    assert training.state == "O"
    assert chosen[2].notifications.due().filter(type="UPDATE_ROUND_START").exists()
    update(chosen[2])
    assert {row.owner for row in move("claim_merge", 0, 0).merge.updates} == set(chosen[1:])


# --- Late updates -------------------------------------------------------------------


@pytest.fixture
def closed(training, people, control, move, update, overdue):
    """A round that closed at its deadline without its last participant."""

    def call(late_updates):
        control(quorum=2, deadline_seconds=60, late_updates=late_updates)
        move("start")
        for user in people[:2]:
            update(user)
        overdue()
        move("advance")

    return call


@pytest.mark.parametrize("merged", [False, True])
def test_a_late_update_is_refused(people, closed, update, merge, merged):
    closed("reject")
    if merged:
        merge()
    with pytest.raises(InvalidRequest, match="is not currently in round 0"):
        update(people[9], round=0)
    assert LocalModel.objects.count() == 2


@pytest.mark.parametrize("merged", [False, True])
def test_a_late_update_may_go_into_the_ledger(people, closed, update, merge, merged):
    closed("discard")
    if merged:
        merge()
    update(people[9], round=0, sha256="late")
    if not merged:
        merge()
    row = LocalModel.objects.get(owner=people[9])
    assert (row.sha256, row.file.name, row.merged_into) == ("late", "", None)
    assert not LocalModel.objects.visible().filter(pk=row.pk).exists()


def test_a_late_repeat_leaves_what_was_merged_alone(people, closed, update, merge):
    closed("discard")
    before = LocalModel.objects.get(owner=people[0]).sha256
    merge()
    update(people[0], round=0, sha256="another")
    row = LocalModel.objects.get(owner=people[0])
    assert (row.sha256, row.merged_into.round) == (before, 1)


@pytest.mark.parametrize("who", [0, 9], ids=["who-is-merged", "who-was-missed"])
def test_a_late_update_leaves_no_file(
    people, closed, move, merge, who, django_capture_on_commit_callbacks
):
    closed("discard")
    merge()
    name = default_storage.save("late", ContentFile(b"numbers"))
    with django_capture_on_commit_callbacks(execute=True):
        file = StoredFile(name, "late", 7)
        move("receive_update", owner=people[who], round=0, sample_size=1, file=file)
    assert not default_storage.exists(name)


def test_a_late_update_of_a_stopped_training_is_refused(people, closed, update, merge, move):
    closed("discard")
    merge()
    move("stop")
    with pytest.raises(InvalidRequest, match="is in state E"):
        update(people[9], round=0)


# --- Chains -------------------------------------------------------------------------


def test_a_chain_round_begun_anew_hands_the_same_models_out(
    training, people, move, update, overdue
):
    def handed_out():
        requests = training.notifications.filter(round=1, attempt=training.attempt)
        return sorted(request.body["global_model_uuid"] for request in requests)

    training.options = {"daisy_chain_period": 2, "round": {"deadline_seconds": 60}}
    training.target_num_updates = 4
    training.save()
    move("start")
    for user in people:
        update(user)
    before = handed_out()
    overdue()
    move("advance")
    assert training.attempt == 1
    assert handed_out() == before
    assert len(set(before)) == len(people)


def test_without_options_everybody_is_waited_for(db):
    options = TrainingFactory().typed_options.round
    assert (options.quorum, options.sample, options.deadline) == (None, None, None)
    assert options.retries == 0
