"""Opening trainings."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from fl_archive.errors import Refused
from fl_archive.model import read_model
from fl_archive.update import check_has_moments
from fl_server_core.exceptions import InvalidRequest, Unwilling
from fl_server_core.handouts import model_path
from fl_server_core.models import Model, Training, User
from fl_server_core.models.model import ModelKind, clone_model
from fl_server_core.models.training import UncertaintyMethod
from fl_server_core.options import Manager, TrainingOptions
from fl_server_core.quotas import check_trainings


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


def create_training(
    *,
    actor: User,
    model: Model,
    participants: Collection[User],
    target_num_updates: int,
    options: dict[str, Any],
    **fields: Any,
) -> Training:
    """Open a training of the model; of a copy, if a training has or had the model already.

    In a daisy chain the target counts the local rounds: as many times the merges asked for as
    the chain is long. Where `FL_MANAGED_BY` says so, a training is left to its actor.

    The model's row is locked: of two requests at once only one gets the model itself. Raises
    InvalidRequest for a model that can't be trained.
    """
    if settings.FL_MANAGED_BY == Manager.ACTOR:  # the other is what no word means
        options = {"managed_by": Manager.ACTOR.value} | options
    check_trainings(actor)
    check_willing(participants, actor)
    _check_trainable(model, swag=fields.get("uncertainty_method") == UncertaintyMethod.SWAG)
    with transaction.atomic():
        model = Model.objects.select_for_update().get(pk=model.pk)
        if Training.objects.filter(model=model).exists() or model.checkpoints.exists():
            model = clone_model(model)
        training = Training.objects.create(
            actor=actor,
            model=model,
            target_num_updates=target_num_updates * TrainingOptions.read(options).chain_period,
            options=options,
            **fields,
        )
        training.participants.set(participants)
    return training


def _check_trainable(model: Model, *, swag: bool) -> None:
    if model.kind not in (ModelKind.GLOBAL, ModelKind.SWAG):
        raise InvalidRequest(f"Model {model.pk} is of type {model.kind}, which can't be trained.")
    with model_path(model) as path, read_model(path) as archive:
        if not archive.trainable:
            raise InvalidRequest(f"Model {model.pk} has no parameter that could be trained.")
        try:
            if swag:
                check_has_moments(archive)
        except Refused as error:
            raise InvalidRequest(f"Model {model.pk} can't be trained with SWAG. {error}") from error


def find_models(training: Training) -> list[Model]:
    """Return the global model and the updates to it whose round isn't over."""
    rows = Model.objects.visible().filter(Q(pk=training.model_id) | Q(base_model=training.model_id))
    return sorted(
        rows.prefetch_related("members"), key=lambda model: model.base_model_id is not None
    )


def find_latest_models(training: Training) -> list[Model]:
    """Return the global model and each participant's newest update to it."""
    participants = set(training.participants.values_list("pk", flat=True))
    found = find_models(training)
    updates = [model for model in found if model.base_model_id and model.owner_id in participants]
    updates.sort(key=lambda update: (update.attempt, update.round))
    newest = {update.owner_id: update for update in updates}
    return [model for model in found if not model.base_model_id] + list(newest.values())
