"""What a model's predictions are sampled from, beside its own file."""

from django.db.models.fields.files import FieldFile

from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import LocalModel, Model
from fl_server_core.models.model import ModelKind


def find_members(model: Model) -> list[Model]:
    """Return the models whose predictions make up an ensemble's, oldest first.

    Those that a MEAN model names; of a model in training the updates of the round that was
    merged last, as far as they are kept. Raises InvalidRequest when there are none.
    """
    if model.kind == ModelKind.MEAN:
        members = list(model.members.select_related("base_model"))
    elif model.kind == ModelKind.LOCAL:
        members = [model]
    else:
        members = _last_updates(model)
    if not members:
        raise InvalidRequest(f"Model {model.pk} has no ensemble yet: no round is complete.")
    return members


def find_moments(model: Model) -> list[FieldFile]:
    """Return the files of SWAG's first and second moment of a model's weights.

    Raises InvalidRequest when there are none.
    """
    moments = [model.swag_first_moment, model.swag_second_moment]
    if not all(moments):
        raise InvalidRequest(f"Model {model.pk} has no SWAG moments yet: no SWAG round is over.")
    return moments


def _last_updates(model: Model) -> list[Model]:
    kept = LocalModel.objects.filter(base_model=model).exclude(closed_at=None).exclude(file="")
    last = kept.order_by("-round", "-attempt").first()
    if last is None:
        return []
    rows = kept.filter(round=last.round, attempt=last.attempt).select_related("base_model")
    return list(rows.order_by("created_at"))
