"""Who looks at a page, and what they may look at."""

from typing import cast
from uuid import UUID

from django.db.models import F, Func, IntegerField, OuterRef, Subquery
from django.http import Http404, HttpRequest

from fl_server_api.permissions import IsInvolved
from fl_server_core.models import Model, Training, User
from fl_server_core.models.training import TrainingQuerySet


def user_of(request: HttpRequest) -> User:
    """Return who is signed in."""
    return cast(User, request.user)


def find_training(request: HttpRequest, id: UUID) -> Training:
    """Return a training that the user may see; nobody else learns that there is one."""
    training = with_people(Training.objects.all()).filter(pk=id).first()
    if training is None or not IsInvolved().may(user_of(request), training):
        raise Http404
    return training


def find_model(request: HttpRequest, id: UUID) -> Model:
    """Return a model that the user may look at; nobody else learns that there is one."""
    readable = Model.objects.readable_by(user_of(request)).filter(pk=id)
    model = readable.select_related("owner", "base_model", "training").first()
    if model is None:
        raise Http404
    return model


def visible_trainings(user: User) -> TrainingQuerySet:
    """Return the trainings that the user starts or takes part in; to operators all."""
    seen = Training.objects.all()
    return seen if IsInvolved().operates(user) else seen.involving(user)


def with_people(trainings: TrainingQuerySet) -> TrainingQuerySet:
    """Have each come with its model and actor, and with how many take part as `people`."""
    found: TrainingQuerySet = trainings.select_related("model", "actor")
    # Not Count("participants"): a database would sort all columns by the thousands of joined rows.
    joined = Training.participants.through.objects.filter(training=OuterRef("pk")).order_by()
    many = joined.annotate(many=Func(F("pk"), function="COUNT")).values("many")  # type: ignore[misc]  # the plugin forgets it
    return found.annotate(people=Subquery(many, output_field=IntegerField()))
