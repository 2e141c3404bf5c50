"""Trainings: who may take part in one, and its models."""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Q

from fl_server_core.audit import record_acts
from fl_server_core.exceptions import Unwilling
from fl_server_core.models import Model, Training, User
from fl_server_core.models.act import ActCode


def find_users(ids: Collection[UUID]) -> list[User] | None:
    """Return these users; None when some don't exist."""
    users = list(User.objects.filter(pk__in=ids))
    return users if len(users) == len(set(ids)) else None


def check_willing(users: Iterable[User], actor: User) -> None:
    """Raise Unwilling if one of them doesn't take part in this actor's trainings."""
    unwilling = [user.username for user in users if not user.accepts_trainings_of(actor)]
    if unwilling:
        names = ", ".join(unwilling[:10])
        raise Unwilling(f"Not taking part in trainings of {actor.username}: {names}.")


def record_clients(code: ActCode, training: Training, users: Iterable[User]) -> None:
    """Note who takes part from now on, or no longer."""
    told = [{"user": str(user.pk), "name": user.username} for user in users]
    record_acts(code, [(training, each) for each in told])


def find_models(training: Training) -> list[Model]:
    """Return the global model and the updates to it whose round isn't over."""
    rows = Model.objects.visible().filter(Q(pk=training.model_id) | Q(base_model=training.model_id))
    return sorted(rows, key=lambda model: model.base_model_id is not None)


def find_latest_models(training: Training) -> list[Model]:
    """Return the global model and each participant's newest update to it."""
    participants = set(training.memberships.values_list("user", flat=True))
    found = find_models(training)
    updates = [model for model in found if model.base_model_id and model.owner_id in participants]
    updates.sort(key=lambda update: (update.attempt, update.round))
    newest = {update.owner_id: update for update in updates}
    return [model for model in found if not model.base_model_id] + list(newest.values())
