"""Who may do what; each class answers for one row."""

from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from fl_server_api.utils import read_body
from fl_server_core.compiled import compiled
from fl_server_core.models import Invitation, Model, Notification, Training, User

Row = TypeVar("Row")


class RowPermission(BasePermission, Generic[Row]):
    """Asks `allows`, once the user is known.

    Operators pass as well who have the Django permission `operators`: superusers, and staff who
    were given it.
    """

    operators = ""

    def has_object_permission(self, request: Request, view: APIView, obj: Any) -> bool:  # noqa: ARG002, D102
        return self.may(cast(User, request.user), obj)

    def may(self, user: User, row: Row) -> bool:
        """Tell whether the user may do it, as what the row makes of it or as an operator."""
        return self.allows(user, row) or self.operates(user)

    def operates(self, user: User) -> bool:
        """Tell whether the user may do it to every row."""
        is_operator = bool(self.operators) and (user.is_staff or user.is_superuser)
        return is_operator and user.has_perm(f"fl_server_core.{self.operators}")

    def allows(self, user: User, row: Row) -> bool:
        """Tell whether the user may do to this row what the view does."""
        raise NotImplementedError


def invitation_code(request: Request) -> str:
    """Return the code that a registration comes with; empty where none is asked for."""
    asked = settings.FL_REGISTRATION == "invitation"
    return str(read_body(request).get("invitation", "")) if asked else ""


class MayRegister(BasePermission):
    """`FL_REGISTRATION` says who may; asked first, so that strangers learn no users' names."""

    message = "Registration is closed; ask an administrator for an account."

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002, D102
        if settings.FL_REGISTRATION == "invitation":
            self.message = "Registration needs the invitation code, as the field 'invitation'."
            return Invitation.objects.open(invitation_code(request)).exists()
        return bool(settings.FL_REGISTRATION == "open")


class IsSuperuser(BasePermission):
    """Superusers see all groups."""

    message = "You are not allowed to access all groups."

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002, D102
        return request.user.is_superuser


class IsGroupMember(RowPermission[Group]):
    """Members see and change their group."""

    message = "You are not allowed to access this group."

    def allows(self, user: User, row: Group) -> bool:  # noqa: D102
        return user.groups.filter(pk=row.pk).exists()


class ChangesGroup(IsGroupMember):
    """Members change their group, unless it gives its members Django permissions."""

    def allows(self, user: User, row: Group) -> bool:  # noqa: D102
        if not super().allows(user, row):
            return False
        self.message = "A group with permissions is changed by staff alone."
        return user.is_staff or user.is_superuser or not row.permissions.exists()


class IsReader(RowPermission[Model]):
    """Readers of a model see it; `ModelQuerySet.readable_by` says who they are."""

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        return bool(_readable(user.pk, row.pk))


class UsesModel(RowPermission[Model]):
    """Readers of a model use it, but for others' updates; see `ModelQuerySet.usable_by`."""

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        return bool(_usable(user.pk, row.pk))


@compiled
def _readable(user: UUID, model: UUID) -> QuerySet[Any]:
    return Model.objects.readable_by(User(pk=user)).filter(pk=model).order_by().values_list("pk")


@compiled
def _usable(user: UUID, model: UUID) -> QuerySet[Any]:
    return Model.objects.usable_by(User(pk=user)).filter(pk=model).order_by().values_list("pk")


class IsOwner(RowPermission[Model]):
    """The owner trains a model."""

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        return row.owner_id == user.pk


class OwnsModel(IsOwner):
    """The owner gives a model the code that goes with it."""

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        self.message = f"You are not the owner of model {row.pk}!"
        return super().allows(user, row)


class RemovesModel(IsOwner):
    """The owner removes a model, and so does the actor of its training."""

    message = "You are neither the owner of the model nor the actor of the corresponding training."

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        training = row.find_training()
        is_actor = training is not None and training.actor_id == user.pk
        return is_actor or super().allows(user, row)


class ReportsOnModel(IsOwner):
    """The owner and the participants of its training report metrics on a model."""

    def allows(self, user: User, row: Model) -> bool:  # noqa: D102
        training = row.find_training()
        takes_part = training is not None and training.is_participant(user)
        return takes_part or super().allows(user, row)


class IsInvolved(RowPermission[Training]):
    """The actor and the participants of a training see it."""

    operators = "view_training"

    def allows(self, user: User, row: Training) -> bool:  # noqa: D102
        return row.actor_id == user.pk or row.is_participant(user)


class ManagesTraining(RowPermission[Training]):
    """Those who may start a training and change who takes part, as its options say."""

    operators = "change_training"

    def allows(self, user: User, row: Training) -> bool:  # noqa: D102
        return row.is_managed_by(user)


class IsActor(RowPermission[Training]):
    """The actor removes a training."""

    operators = "delete_training"
    message = "You are not the owner the training."

    def allows(self, user: User, row: Training) -> bool:  # noqa: D102
        return row.actor_id == user.pk


class SteersTraining(IsActor):
    """The actor alone stops a training, resumes it, rolls it back."""

    operators = "change_training"
    message = "You are not the actor of the training."


class IsReceiver(RowPermission[Notification]):
    """The receiver of a notification acknowledges it."""

    def allows(self, user: User, row: Notification) -> bool:  # noqa: D102
        return row.receiver_id == user.pk
