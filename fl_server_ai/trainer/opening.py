"""Opening a training."""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import transaction

from fl_archive.errors import Refused
from fl_archive.model import ModelFile, read_model
from fl_archive.update import check_has_moments
from fl_server_ai.uncertainty.registry import METHODS, Method
from fl_server_core.audit import record_act
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Model, Training, User
from fl_server_core.models.act import ActCode
from fl_server_core.models.model import ModelKind, clone_model
from fl_server_core.options import Manager, MomentsBy, TrainingOptions
from fl_server_core.outgoing import model_path
from fl_server_core.quotas import check_trainings
from fl_server_core.trainings import check_willing, record_clients


def create_training(
    *,
    actor: User,
    model: Model,
    participants: Collection[User],
    target_num_updates: int,
    options: dict[str, Any],
    uncertainty_method: str,
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
    _check_trainable(model, METHODS[uncertainty_method], TrainingOptions.read(options))
    with transaction.atomic():
        model = Model.objects.select_for_update().get(pk=model.pk)
        if Training.objects.filter(model=model).exists() or model.checkpoints.exists():
            model = clone_model(model)
        training = Training.objects.create(
            actor=actor,
            model=model,
            target_num_updates=target_num_updates * TrainingOptions.read(options).chain_period,
            options=options,
            uncertainty_method=uncertainty_method,
            **fields,
        )
        training.participants.set(participants)
        record_act(ActCode.TRAINING_OPENED, training, model=str(model.pk))
        record_clients(ActCode.CLIENT_ADDED, training, participants)
    return training


def _check_trainable(model: Model, method: Method, options: TrainingOptions) -> None:
    if model.kind not in (ModelKind.GLOBAL, ModelKind.SWAG):
        raise InvalidRequest(f"Model {model.pk} is of type {model.kind}, which can't be trained.")
    with model_path(model) as path, read_model(path) as archive:
        if not archive.trainable:
            raise InvalidRequest(f"Model {model.pk} has no parameter that could be trained.")
        try:
            options.exchange.part.check(archive)
        except Refused as error:
            raise InvalidRequest(f"Model {model.pk} can't be trained in part. {error}") from error
        try:
            if method.moments:
                _check_moments(archive, options)
        except Refused as error:
            raise InvalidRequest(f"Model {model.pk} can't be trained with SWAG. {error}") from error


def _check_moments(archive: ModelFile, options: TrainingOptions) -> None:
    check_has_moments(archive)
    if not options.exchange.part.is_whole and options.uncertainty.swag != MomentsBy.SERVER:
        raise Refused(
            "Participants give moments of all parameters, but exchange.tensors leaves some out: "
            "have the server make them (uncertainty.swag)."
        )
