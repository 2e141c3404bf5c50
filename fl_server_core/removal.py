"""Removing rows while other requests add rows that refer to them.

Without a lock, a row could be added between finding and removing what refers to a model, and the
removal would fail. With the lock of the model's and the training's row that can't happen, because
whoever adds an update or metrics holds the training's lock, and the database takes a shared lock
of a row that a new one refers to.
"""

from django.db import transaction
from django.db.models import Model as Row
from django.db.models import Q, QuerySet

from fl_server_core.audit import count_act, record_act, record_acts
from fl_server_core.files import let_go, names_in
from fl_server_core.models import Checkpoint, Model, Moments, Training, User
from fl_server_core.models.act import ActCode
from fl_server_core.models.model import ModelKind
from fl_server_core.trainings import record_clients


def remove_training(training: Training) -> None:
    """Delete the training; its model stays. Raises Training.DoesNotExist if it is gone."""
    with transaction.atomic():
        row = Training.objects.select_for_update().get(pk=training.pk)
        record_act(ActCode.TRAINING_REMOVED, row, model=str(row.model_id))
        row.delete()


def remove_model(model: Model) -> None:
    """Delete the model, and with a global model its training and updates.

    Raises Model.DoesNotExist if it is gone.
    """
    with transaction.atomic():
        # In the order in which a merge locks them.
        Training.objects.select_for_update().filter(model=model.global_model.pk).first()
        row = Model.objects.select_for_update().get(pk=model.pk)
        rows = Model.objects.filter(Q(pk=model.pk) | Q(base_model=model.pk))
        kept = (kind.objects.filter(model__in=rows) for kind in (Checkpoint, Moments))
        let_go(names_in(rows, *kept))
        if row.kind == ModelKind.LOCAL:  # which nobody counted when it came
            count_act()
        record_falling(Model.objects.filter(pk=row.pk))
        record_act(ActCode.MODEL_REMOVED, row, name=row.name, kind=row.kind)
        row.delete()


def record_falling(rows: "QuerySet[Row]") -> None:
    """Note which trainings and models are removed because users or models are.

    And in which other trainings these users take part no longer.
    """
    models = Model.objects.exclude(kind=ModelKind.LOCAL)
    if issubclass(rows.model, User):
        models = models.filter(owner__in=rows)
        trainings = Training.objects.filter(Q(actor__in=rows) | Q(model__in=models))
        record_acts(ActCode.MODEL_REMOVED, [(row, {"name": row.name}) for row in models])
        for user in User.objects.filter(pk__in=rows):
            for training in user.trainings.exclude(pk__in=trainings):
                record_clients(ActCode.CLIENT_REMOVED, training, [user])
    elif issubclass(rows.model, Model):
        trainings = Training.objects.filter(model__in=rows)
    else:
        return
    told = [(row, {"model": str(row.model_id)}) for row in trainings]
    record_acts(ActCode.TRAINING_REMOVED, told)
