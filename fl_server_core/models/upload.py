"""Uploads: files that come in parts, so that a link may drop in the middle."""

import uuid
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from fl_server_core.exceptions import Expired
from fl_server_core.models.user import User


def lifetime_end() -> datetime:
    """Return until when an upload is kept of which nothing more comes."""
    return timezone.now() + timedelta(hours=settings.FL_KEEP_UPLOADS_HOURS)


class UploadQuerySet(models.QuerySet["Upload"]):
    """Which uploads are still good."""

    def expired(self) -> Self:
        """Keep those of which nothing has come, and that nobody has used, for too long."""
        return self.filter(expires_at__lte=timezone.now())


class Upload(models.Model):
    """A file that comes in parts, until a request uses it up.

    The row is the truth, `offset` says how many bytes count. `fl_server_core.resumable` keeps
    them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="uploads")
    length = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    metadata = models.TextField(blank=True, help_text="As it came: names, with values in base64.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"upload {self.id}"

    def check_lifetime(self) -> None:
        """Raise Expired if it has waited too long."""
        if self.expires_at <= timezone.now():
            raise Expired(f"Upload {self.pk} has expired: begin anew.")

    def advance(self, offset: int) -> None:
        """Count so many bytes from now on, and begin its lifetime anew.

        Raises DoesNotExist if it was removed meanwhile, or moved by somebody else.
        """
        rows = Upload.objects.filter(pk=self.pk, offset=self.offset)
        expires_at = lifetime_end()
        if not rows.update(offset=offset, expires_at=expires_at):
            raise Upload.DoesNotExist
        self.offset, self.expires_at = offset, expires_at
