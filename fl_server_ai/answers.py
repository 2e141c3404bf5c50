"""What participants hand in: whether it can be taken, and its row."""

from typing import Any

from django.utils import timezone

from fl_server_ai.turnout import round_requests, turnout
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.files import StoredFile, let_go, names_in
from fl_server_core.models import LocalModel, Model, Moments, Training, User
from fl_server_core.models.model import ModelKind
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import Phase, TrainingState
from fl_server_core.options import LateUpdates


def check_update(training: Training, user: User, round: int) -> None:
    """Raise unless an update of this user for this round can be taken.

    For a round that is yet to open that says nothing of whether the user will be asked.
    """
    if round < training.round and training.is_running and _discards_late(training):
        _check_participant(training, user)
    else:
        _check(training, user, round, TrainingState.ONGOING, Phase.UPDATE)


def check_moments(training: Training, user: User, round: int) -> None:
    """Raise unless SWAG moments of this user for this round can be taken."""
    _check(training, user, round, TrainingState.SWAG_ROUND, Phase.SWAG)


def check_report(training: Training, user: User) -> None:
    """Raise if the user's metrics on the global model are none that its round has asked for.

    Where a sample was asked to test the model in its present round, others don't report on it;
    its owner always may.
    """
    asked = training.notifications.filter(
        type=NotificationType.MODEL_TEST_ROUND,
        round=training.round,
        attempt=training.attempt,
    ).standing()
    is_sampled = training.sample_target is not None and asked.exists()
    is_owner = training.model.owner_id == user.pk
    if is_sampled and not is_owner and not asked.filter(receiver=user).exists():
        raise not_asked(training)


def keep_update(
    training: Training, owner: User, round: int, *, sample_size: int, file: StoredFile
) -> Model | None:
    """Store a participant's update for a round, in place of an earlier one.

    Once the merge has begun nothing is replaced. What comes then is refused, or goes into the
    ledger if the training wants that; None is returned.
    """
    update = _find_update(training, owner, round)
    is_known = not update._state.adding
    late = _is_late(training, round, counts=is_known and update.closed_at is None)
    discards = _discards_late(training)
    if late and is_known and (discards or update.sha256 == file.sha256):
        return None
    if late and not discards:
        raise not_in_round(training, round)
    let_go([update.file.name])
    update.file = "" if late else file.name
    update.closed_at = timezone.now() if late else None
    update.sha256, update.size, update.sample_size = file.sha256, file.size, sample_size
    update.save()
    return None if late else update


def _is_late(training: Training, round: int, *, counts: bool) -> bool:
    """Tell whether an update comes when its round has closed; `counts`: there is one already."""
    if round < training.round or training.claim:
        return True
    return training.phase == Phase.UPDATE and not counts and turnout(training).is_complete


def _discards_late(training: Training) -> bool:
    return training.typed_options.round.late_updates == LateUpdates.DISCARD


def keep_moments(
    training: Training, owner: User, *, sample_size: int, first: StoredFile, second: StoredFile
) -> None:
    """Store a participant's moments for the present round, in place of earlier ones."""
    if training.claim:
        raise not_in_round(training, training.round)
    key: dict[str, Any] = {
        "model": training.model,
        "round": training.round,
        "attempt": training.attempt,
    }
    let_go(names_in(Moments.objects.filter(owner=owner, **key)))
    Moments.objects.update_or_create(
        owner=owner,
        **key,
        defaults={
            "sample_size": sample_size,
            "first": first.name,
            "first_sha256": first.sha256,
            "second": second.name,
            "second_sha256": second.sha256,
        },
    )


def not_in_round(training: Training, round: int) -> InvalidRequest:
    """Return the error for an answer that comes too early or too late."""
    return InvalidRequest(f"Training with ID {training.pk} is not currently in round {round}")


def not_asked(training: Training) -> InvalidRequest:
    """Return the error for an answer of somebody who isn't in the round's sample."""
    return InvalidRequest(f"You are not asked in round {training.round} of training {training.pk}")


def _find_update(training: Training, owner: User, round: int) -> Model:
    fields = {"base_model": training.model, "round": round, "attempt": training.attempt}
    return LocalModel.objects.filter(owner=owner, **fields).first() or LocalModel(
        kind=ModelKind.LOCAL, owner=owner, **fields
    )


def _check(training: Training, user: User, round: int, state: TrainingState, phase: Phase) -> None:
    _check_participant(training, user)
    if training.state != state:
        raise InvalidRequest(f"Training with ID {training.pk} is in state {training.state}")
    if round != training.round:
        raise not_in_round(training, round)
    if training.phase == phase and not _may_answer(training, user):
        raise not_asked(training)


def _may_answer(training: Training, user: User) -> bool:
    """Tell whether the user is asked; where all are, also somebody who has just joined."""
    is_sampled = training.sample_target is not None
    return not is_sampled or round_requests(training).filter(receiver=user).exists()


def _check_participant(training: Training, user: User) -> None:
    if not training.is_participant(user):
        raise PermissionDenied(f"You are not a participant of training {training.pk}!")
