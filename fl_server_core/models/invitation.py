"""Invitations: codes, each good for one registration where `FL_REGISTRATION` asks for one."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Self

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from fl_server_core.audit import record_act
from fl_server_core.exceptions import PermissionDenied
from fl_server_core.models.act import ActCode
from fl_server_core.models.user import User

VALID_DAYS = 7


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Which invitations are still good."""

    def open(self, code: str) -> Self:
        """Keep the one of this code, unless it was used or is over."""
        return self.filter(digest=_digest(code), used_at=None, expires_at__gt=Now())

    def use(self, code: str, user: User) -> None:
        """Note who has registered with it; raises PermissionDenied if another was faster."""
        if not self.open(code).update(used_at=Now(), used_by=user):
            raise PermissionDenied("This invitation was used meanwhile.")
        used = self.get(digest=_digest(code))
        record_act(ActCode.INVITATION_USED, used, user=str(user.pk), name=user.username)


class Invitation(models.Model):
    """An invitation; its code is shown when it is made, and only its digest is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    note = models.CharField(max_length=255, blank=True, help_text="For whom it is.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    expires_at = models.DateTimeField(editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    used_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"invitation {self.note or self.id}"

    def issue(self, *, days: int = VALID_DAYS) -> str:
        """Store it with a new code, good for so many days, and return the code."""
        code = secrets.token_urlsafe(24)
        self.digest, self.expires_at = _digest(code), timezone.now() + timedelta(days=days)
        with transaction.atomic():
            self.save()
            record_act(ActCode.INVITATION_MADE, self, note=self.note, days=days)
        return code


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()  # no salt: the code is random
