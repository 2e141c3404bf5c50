"""What participants hand in: whether it can be taken, and its row."""

from fl_server_ai.turnout import round_updates
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.files import StoredFile
from fl_server_core.models import LocalModel, Model, Moments, Training, User
from fl_server_core.models.model import ModelKind
from fl_server_core.models.training import TrainingState


def check_update(training: Training, user: User, round: int) -> None:
    """Raise unless an update of this user for this round can be taken."""
    _check(training, user, round, TrainingState.ONGOING)


def check_moments(training: Training, user: User, round: int) -> None:
    """Raise unless SWAG moments of this user for this round can be taken."""
    _check(training, user, round, TrainingState.SWAG_ROUND)


def find_update(training: Training, owner: User) -> Model:
    """Return the participant's update for the present round, or a new row for one."""
    return round_updates(training).filter(owner=owner).first() or LocalModel(
        kind=ModelKind.LOCAL,
        owner=owner,
        base_model=training.model,
        round=training.round,
        attempt=training.attempt,
    )


def keep_moments(
    training: Training, owner: User, *, sample_size: int, first: StoredFile, second: StoredFile
) -> None:
    """Store a participant's moments for the present round, in place of earlier ones."""
    Moments.objects.update_or_create(
        model=training.model,
        owner=owner,
        round=training.round,
        attempt=training.attempt,
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


def _check(training: Training, user: User, round: int, state: TrainingState) -> None:
    if not training.is_participant(user):
        raise PermissionDenied(f"You are not a participant of training {training.pk}!")
    if training.state != state:
        raise InvalidRequest(f"Training with ID {training.pk} is in state {training.state}")
    if round != training.round:
        raise not_in_round(training, round)
