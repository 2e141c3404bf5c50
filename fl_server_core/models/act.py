"""Acts: who has changed what, and when. `fl_server_core.audit` writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from django.db import connection, models, transaction
from django.utils import timezone


class ActCode(models.TextChoices):
    """What was done to a training, a model, a participant, a permission or a setting."""

    TRAINING_OPENED = "training.opened", "A training was opened."
    TRAINING_STARTED = "training.started", "It was started."
    TRAINING_STOPPED = "training.stopped", "It was stopped."
    TRAINING_RESUMED = "training.resumed", "It goes on where it was stopped or has failed."
    TRAINING_ROLLED_BACK = "training.rolled_back", "It goes on from an earlier version."
    TRAINING_ASKED_AGAIN = "training.asked_again", "Who is awaited was notified once more."
    TRAINING_REMOVED = "training.removed", "It was removed."
    CLIENT_ADDED = "training.client_added", "A user takes part from now on."
    CLIENT_REMOVED = "training.client_removed", "A user takes part no longer."
    CLIENT_LOST = "training.client_lost", "A participant refused a message, or wasn't reached."
    ROUND_REPEATED = "training.round_repeated", "Too few had answered: all were asked anew."
    ROUND_MERGED = "training.round_merged", "A round's updates became the model's next version."
    MOMENTS_MERGED = "training.moments_merged", "A SWAG round's moments became the model's."
    TRAINING_COMPLETED = "training.completed", "It reached its target, or stopped early."
    TRAINING_FAILED = "training.failed", "It ended in an error."

    MODEL_UPLOADED = "model.uploaded", "A model was uploaded, or made of others."
    MODEL_COPIED = "model.copied", "A copy was made, because a training has the model itself."
    MODEL_CHANGED = "model.changed", "Its name or description was changed in admin."
    MODEL_PREPROCESSING = "model.preprocessing_uploaded", "It was given other preprocessing."
    MODEL_SERVING = "model.serving_uploaded", "It was given other code to predict with."
    MODEL_REMOVED = "model.removed", "It was removed."

    USER_REGISTERED = "user.registered", "A user was made: over the API, in admin, by a command."
    USER_CHANGED = "user.changed", "Some fields were changed; their names are told."
    USER_REMOVED = "user.removed", "A user was removed."
    USER_LOGGED_IN = "user.logged_in", "A session was begun in a browser."
    USER_LOGIN_FAILED = "user.login_failed", "A password was wrong."
    TOKEN_RENEWED = "token.renewed", "A user's token was replaced."
    PERMISSION_CHANGED = "permission.changed", "What a user or a group may do was changed."

    GROUP_ADDED = "group.added", "A group was made."
    GROUP_CHANGED = "group.changed", "It was renamed."
    GROUP_REMOVED = "group.removed", "It was removed."
    INVITATION_MADE = "invitation.made", "An invitation was made."
    INVITATION_USED = "invitation.used", "A user has registered with it."
    INVITATION_REMOVED = "invitation.removed", "It was removed."

    CHECKPOINT_REMOVED = "checkpoint.removed", "A version was removed in admin."
    METRIC_REMOVED = "metric.removed", "A metric was removed in admin."
    MOMENTS_REMOVED = "moments.removed", "SWAG moments were removed in admin."
    STATS_REMOVED = "modelstats.removed", "A model's summary was removed in admin."
    NOTIFICATION_REMOVED = "notification.removed", "A message was removed in admin."
    TRACKING_REMOVED = "tracking.removed", "What a tracker was told was forgotten in admin."
    UPLOAD_REMOVED = "upload.removed", "An upload in parts was removed in admin."

    SETTINGS_CHANGED = "settings.changed", "The server was started with other settings."
    ACTS_FORGOTTEN = "acts.forgotten", "Rows of this log were removed for their age."


def codes() -> list[tuple[str, str]]:
    """Return the choices; a function, because one more code is no change of the table."""
    return ActCode.choices


class AppendOnly(TypeError):
    """Rows of the audit log are neither changed nor removed."""


def _refuse() -> NoReturn:
    raise AppendOnly("Rows of the audit log are neither changed nor removed.")


class ActQuerySet(models.QuerySet["Act"]):
    """What may be done with rows of the audit log: they are read, and forgotten when old."""

    def update(self, **_: Any) -> int:
        """Raise AppendOnly."""
        _refuse()

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raise AppendOnly."""
        _refuse()

    def forget(self) -> int:
        """Remove them, because they have been kept for as long as is wanted; return how many."""
        with trigger_lifted(self.model._meta.db_table):
            return super().delete()[0]


@contextmanager
def trigger_lifted(table: str) -> Iterator[None]:
    """Have the database let rows be deleted, in this transaction alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL fl_server.forgets_acts = 'on'")
            yield
            cursor.execute("SET LOCAL fl_server.forgets_acts = 'off'")
        else:  # SQLite knows no such variable; nobody else writes meanwhile
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
            triggers = cursor.execute(query, [table]).fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            yield
            for _, sql in triggers:
                cursor.execute(sql)


class Act(models.Model):
    """One row of the audit log: who, from where, has done what, to which row, and when.

    It refers to no other row, so that it outlives them all. Without a user it is an act of the
    server itself, of a command on its machine, or of somebody who is no user yet. A trigger has the
    database refuse what the methods here refuse; `ActQuerySet.forget` is the one way past it.
    """

    code = models.CharField(max_length=40, choices=codes)
    user_id = models.UUIDField(null=True, blank=True)
    user_name = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    object_type = models.CharField(max_length=32, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = ActQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(fields=["created_at"], name="act_created"),
            models.Index(fields=["object_id"], name="act_object"),
            models.Index(fields=["code"], name="act_code"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.object_id}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new row; raise AppendOnly for any other."""
        if not self._state.adding:
            _refuse()
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Raise AppendOnly."""
        _refuse()

    @property
    def told(self) -> dict[str, Any]:
        """The row as its line in a log."""
        return {
            "id": self.pk,
            "at": self.created_at.isoformat(),
            "act": self.code,
            "user": self.user_id and str(self.user_id),
            "user_name": self.user_name,
            "address": self.address,
            "object_type": self.object_type,
            "object_id": self.object_id,
            "details": self.details,
            "request_id": self.request_id,
        }
