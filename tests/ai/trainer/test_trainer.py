import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.lease import ClaimLost
from fl_server_ai.trainer.phases import Phase
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.files import StoredFile
from fl_server_core.models import LocalModel, Training
from fl_server_core.models.training import PhaseName, ReasonCode, TrainingState
from tests.ai.conftest import told
from tests.factories import UserFactory


def test_start_opens_the_first_round(training, participants, move):
    move("start")
    assert (training.state, training.phase) == (TrainingState.ONGOING, PhaseName.UPDATE)
    for user in participants:
        assert told(user) == [("TRAINING_START", None), ("UPDATE_ROUND_START", 0)]


def test_start_without_participants_is_refused(training, move):
    training.participants.clear()
    with pytest.raises(InvalidRequest, match="At least one participant must be registered!"):
        move("start")


def test_start_twice_is_refused(training, move):
    move("start")
    with pytest.raises(InvalidRequest, match=f"Training {training.pk} is not in state INITIAL!"):
        move("start")


def test_a_model_that_is_at_its_target_already_is_finished_at_once(training, move, participants):
    training.model.round = 2
    training.model.save()
    move("start")
    assert training.state == TrainingState.COMPLETED
    assert told(participants[0]) == [("TRAINING_START", None), ("TRAINING_FINISHED", None)]


def test_the_last_update_and_no_earlier_one_asks_for_the_merge(
    training, participants, move, update, sent, django_capture_on_commit_callbacks
):
    move("start")
    with django_capture_on_commit_callbacks(execute=True):
        update(participants[0])
    assert sent == []
    with django_capture_on_commit_callbacks(execute=True):
        update(participants[1])
    assert sent == [("merge_round", str(training.pk), 0, 0)]


def test_only_an_answer_that_may_be_the_last_has_all_counted(
    training, participants, move, update, report, merge, monkeypatch
):
    counts = []
    count = Phase.quorum
    monkeypatch.setattr(Phase, "quorum", lambda phase: counts.append(phase.name) or count(phase))

    def counted_by(answer, user):
        counts.clear()
        answer(user)
        return len(counts)

    move("start")
    assert counted_by(update, participants[0]) == 0
    assert counted_by(update, participants[0]) == 0
    assert counted_by(update, participants[1]) > 0
    merge()
    assert counted_by(report, participants[1]) == 0
    assert counted_by(report, participants[0]) > 0


def test_a_whole_training_tells_everybody_every_step_in_order(
    training, participants, move, update, report, merge
):
    move("start")
    for _ in range(2):
        for user in participants:
            update(user)
        merge()
        for user in participants:
            report(user)
    assert training.state == TrainingState.COMPLETED
    steps = [
        ("TRAINING_START", None),
        ("UPDATE_ROUND_START", 0),
        ("MODEL_TEST_ROUND", 1),
        ("UPDATE_ROUND_START", 1),
        ("MODEL_TEST_ROUND", 2),
        ("TRAINING_FINISHED", None),
    ]
    assert [told(user) for user in participants] == [steps, steps]
    assert told(training.actor) == [("TRAINING_FINISHED", None)]


def test_an_update_replaces_ones_own(training, participants, move, update):
    move("start")
    first = update(participants[0], sha256="a", sample_size=1, metrics=[("loss", "1"), ("x", "2")])
    second = update(participants[0], sha256="b", sample_size=5, metrics=[("loss", "3")])
    assert first.pk == second.pk
    row = LocalModel.objects.get()
    assert (row.sha256, row.sample_size) == ("b", 5)
    assert list(row.metrics.values_list("key", "value_float")) == [("loss", 3.0)]


@pytest.mark.parametrize(
    ("state", "error"),
    [("I", "is in state I"), ("C", "is in state C"), ("E", "is in state E")],
)
def test_an_update_outside_of_a_running_training_is_refused(
    training, participants, update, state, error
):
    Training.objects.update(state=state)
    with pytest.raises(InvalidRequest, match=error):
        update(participants[0])


def test_an_update_for_another_round_is_refused(participants, move, update):
    move("start")
    with pytest.raises(InvalidRequest, match="is not currently in round 1"):
        update(participants[0], round=1)
    assert not LocalModel.objects.exists()


def test_a_strangers_update_is_refused(training, move, update):
    move("start")
    with pytest.raises(PermissionDenied, match=f"not a participant of training {training.pk}!"):
        update(UserFactory())


def test_an_update_during_the_test_counts_when_the_round_opens(
    training, participants, move, update, report, merge, sent, django_capture_on_commit_callbacks
):
    move("start")
    for user in participants:
        update(user)
    merge()
    for user in participants:
        update(user)
    report(participants[0])
    assert training.phase == PhaseName.TEST
    with django_capture_on_commit_callbacks(execute=True):
        report(participants[1])
    assert training.phase == PhaseName.UPDATE
    assert ("merge_round", str(training.pk), 1, 0) in sent


def test_only_participants_metrics_end_the_test(
    training, participants, move, update, report, merge
):
    move("start")
    for user in participants:
        update(user)
    merge()
    report(participants[0])
    report(training.actor)
    report(participants[0])
    assert training.phase == PhaseName.TEST


# --- Claims -------------------------------------------------------------------------


def test_a_round_that_is_not_complete_is_not_merged(participants, move, update):
    move("start")
    update(participants[0])
    assert move("claim_merge", 0, 0) is None


@pytest.mark.parametrize(("round", "attempt"), [(1, 0), (0, 1)])
def test_a_merge_of_another_round_or_attempt_is_not_due(participants, move, update, round, attempt):
    move("start")
    for user in participants:
        update(user)
    assert move("claim_merge", round, attempt) is None


def test_a_claimed_merge_is_claimed_again_only_after_its_lease(
    training, participants, move, update
):
    move("start")
    for user in participants:
        update(user)
    first = move("claim_merge", 0, 0)
    assert training.locked
    assert move("claim_merge", 0, 0) is None
    Training.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    second = move("claim_merge", 0, 0)
    assert second.token != first.token
    with pytest.raises(ClaimLost):
        first.renew()
    with pytest.raises(ClaimLost):
        move("complete_merge", first, StoredFile("late", "0" * 64, 1))
    second.renew()
    move("complete_merge", second, StoredFile("new", "1" * 64, 1))
    assert (training.model.file.name, training.model.round) == ("new", 1)
    assert not training.locked


def test_a_merge_handed_in_twice_counts_once(training, participants, move, update):
    move("start")
    for user in participants:
        update(user)
    claim = move("claim_merge", 0, 0)
    move("complete_merge", claim, StoredFile("new", "1" * 64, 1))
    with pytest.raises(ClaimLost):
        move("complete_merge", claim, StoredFile("newer", "2" * 64, 1))
    assert (training.model.file.name, training.model.round) == ("new", 1)


def test_while_a_round_is_merged_its_updates_stay_what_they_are(participants, move, update):
    move("start")
    update(participants[0])
    update(participants[1], sha256="a")
    claim = move("claim_merge", 0, 0)
    update(participants[1], sha256="a")  # a repeat is harmless
    with pytest.raises(InvalidRequest, match="is not currently in round 0"):
        update(participants[1], sha256="b")
    assert {row.sha256 for row in claim.merge.updates} == set(
        LocalModel.objects.values_list("sha256", flat=True)
    )


def test_a_merge_that_keeps_failing_ends_the_training_with_a_reason(
    training, participants, move, update, settings
):
    settings.FL_MERGE_ATTEMPTS = 3
    move("start")
    for user in participants:
        update(user)
    for _ in range(3):
        assert move("claim_merge", 0, 0) is not None
        Training.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert move("claim_merge", 0, 0) is None
    assert training.state == TrainingState.ERROR
    assert "begun 3 times" in training.state_reason


def test_merged_updates_become_a_ledger_without_files(participants, move, update, merge):
    move("start")
    for user in participants:
        update(user)
    merge()
    rows = LocalModel.objects.all()
    assert not rows.visible().exists()
    assert [(row.file.name, bool(row.sha256)) for row in rows] == [("", True), ("", True)]


def test_messages_leave_before_files_are_deleted(
    participants,
    move,
    update,
    merge,
    report,
    settings,
    monkeypatch,
    django_capture_on_commit_callbacks,
):
    settings.FL_KEEP_CHECKPOINTS = 1
    done = []
    monkeypatch.setattr("fl_server_ai.enqueue.send", lambda task, *_: done.append(task))
    monkeypatch.setattr("fl_server_core.files.discard", lambda _: done.append("discard"))
    move("start")
    for _ in range(2):
        for user in participants:
            update(user)
        done.clear()
        with django_capture_on_commit_callbacks(execute=True):
            merge()
        # Both updates; the model that was before them is kept as a checkpoint.
        assert done == ["dispatch", "discard", "discard"]
        done.clear()
        with django_capture_on_commit_callbacks(execute=True):
            for user in participants:
                report(user)
    assert done == ["dispatch", "discard"]  # the model that is no checkpoint any more


def test_files_of_the_last_rounds_are_kept_if_wished(participants, move, update, merge, settings):
    settings.FL_KEEP_UPDATE_ROUNDS = 1
    move("start")
    for user in participants:
        update(user)
    merge()
    assert all(row.file for row in LocalModel.objects.all())


# --- Coming and going ---------------------------------------------------------------


def test_removing_the_last_awaited_participant_completes_the_round(
    training, participants, move, update, sent, django_capture_on_commit_callbacks
):
    move("start")
    update(participants[0])
    with django_capture_on_commit_callbacks(execute=True):
        move("remove_participants", [participants[1]])
    assert ("merge_round", str(training.pk), 0, 0) in sent
    assert told(participants[1]) == [("CLIENT_REMOVED", None)]


def test_a_removed_participants_update_is_not_merged(participants, move, update):
    move("start")
    for user in participants:
        update(user)
    move("remove_participants", [participants[1]])
    claim = move("claim_merge", 0, 0)
    assert [row.owner_id for row in claim.merge.updates] == [participants[0].pk]


def test_removing_everybody_ends_the_training_with_a_reason(training, participants, move):
    move("start")
    move("remove_participants", participants)
    assert (training.state, training.state_reason) == ("E", "No participant is left.")
    assert told(participants[0]) == [("CLIENT_REMOVED", None)]


def test_a_new_participant_joins_at_the_next_round(
    training, participants, move, update, report, merge
):
    move("start")
    new = UserFactory()
    move("add_participants", [new, participants[0]])
    assert told(new) == [("TRAINING_START", None)]
    for user in participants:
        update(user)
    merge()
    assert told(new)[1:] == [("MODEL_TEST_ROUND", 1)]


def test_somebody_who_comes_back_in_the_same_round_joins_at_the_next(
    training, participants, move, update, merge
):
    move("start")
    move("remove_participants", [participants[1]])
    move("add_participants", [participants[1]])
    update(participants[0])
    merge()
    assert training.state == TrainingState.ONGOING
    assert told(participants[1])[-1] == ("MODEL_TEST_ROUND", 1)


def test_before_the_start_participants_change_without_messages(training, participants, move):
    move("add_participants", [UserFactory()])
    move("remove_participants", participants)
    assert not training.notifications.exists()
    assert training.state == TrainingState.INITIAL


# --- Messages that fail -------------------------------------------------------------


def message(user, kind):
    return user.notifications.get(type=kind)


def test_a_refused_round_call_removes_the_participant(training, participants, move):
    move("start")
    call = message(participants[1], "UPDATE_ROUND_START")
    move("give_up_on", call, "HTTP 500", refused=True)
    assert list(training.participants.all()) == [participants[0]]
    assert training.state == TrainingState.ONGOING


def test_another_message_that_is_refused_has_no_effect(training, participants, move):
    move("start")
    move("give_up_on", message(participants[1], "TRAINING_START"), "HTTP 500", refused=True)
    assert training.participants.count() == 2


def test_a_refusal_of_an_earlier_round_has_no_effect(training, participants, move, update, merge):
    move("start")
    call = message(participants[1], "UPDATE_ROUND_START")
    for user in participants:
        update(user)
    merge()
    move("give_up_on", call, "HTTP 500", refused=True)
    assert training.participants.count() == 2


def test_a_lost_participant_ends_the_training_with_a_reason(training, participants, move):
    move("start")
    call = message(participants[1], "UPDATE_ROUND_START")
    move("give_up_on", call, "ConnectionError", refused=False)
    assert training.state == TrainingState.ERROR
    assert training.state_reason == (
        "Round 0: only 1 of 2 participants can still answer. "
        f"It failed with {participants[1].username} (UPDATE_ROUND_START not reached)."
    )


def test_a_participant_who_answers_was_reached_after_all(training, participants, move, update):
    move("start")
    update(participants[1])
    call = message(participants[1], "UPDATE_ROUND_START")
    move("give_up_on", call, "ConnectionError", refused=False)
    assert training.state == TrainingState.ONGOING


def test_a_message_delivered_meanwhile_can_no_longer_fail(training, participants, move):
    move("start")
    call = message(participants[1], "UPDATE_ROUND_START")
    training.notifications.filter(pk=call.pk).deliver()
    move("give_up_on", call, "late", refused=True)
    assert training.participants.count() == 2


def test_a_failed_training_calls_nobody_any_more(training, participants, move):
    move("start")
    move("fail", ReasonCode.UNMERGEABLE, "for a reason")
    assert not training.notifications.pending().filter(type="UPDATE_ROUND_START").exists()


def test_a_reason_adds_no_line_to_the_log(training, move, caplog):
    move("fail", ReasonCode.UNMERGEABLE, "The updates differ in 'a\nERROR forged'.")
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_a_training_that_is_gone_can_not_be_locked(db):
    with pytest.raises(Training.DoesNotExist), ModelTrainer.locked(uuid.uuid4()):
        pass


# --- After a restore ----------------------------------------------------------------


def test_those_who_have_not_answered_are_asked_again(
    training, participants, move, update, sent, django_capture_on_commit_callbacks
):
    move("start")
    update(participants[0])
    training.notifications.all().deliver()
    with django_capture_on_commit_callbacks(execute=True):
        assert move("ask_again") == 1
    assert [m.receiver for m in training.notifications.due()] == [participants[1]]
    assert sent == [("dispatch", str(training.pk))]


def test_somebody_who_fetches_finds_the_call_again(training, participants, move):
    participants[0].message_endpoint = ""
    participants[0].save()
    move("start")
    training.notifications.all().deliver()
    move("ask_again")
    (call,) = participants[0].notifications.pending()
    assert (call.type, call.next_attempt_at) == ("UPDATE_ROUND_START", None)
