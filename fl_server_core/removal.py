"""Removing rows while other requests add rows that refer to them.

Without a lock, a row could be added between finding and removing what refers to a model, and the
removal would fail. With the lock of the model's and the training's row that can't happen, because
whoever adds an update or metrics holds the training's lock, and the database takes a shared lock
of a row that a new one refers to.
"""

from django.db import transaction
from django.db.models import Q

from fl_server_core.files import let_go, names_in
from fl_server_core.models import Checkpoint, Model, Moments, Training


def remove_training(training: Training) -> None:
    """Delete the training; its model stays. Raises Training.DoesNotExist if it is gone."""
    with transaction.atomic():
        Training.objects.select_for_update().get(pk=training.pk).delete()


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
        row.delete()
