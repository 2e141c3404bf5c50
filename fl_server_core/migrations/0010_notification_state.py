"""What has become of a message as one state, told so far by three times and an error's text."""

from django.db import migrations, models
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Now

CLOSED = "The round closed without it."
STATES = [
    ("pending", "It waits to be posted or fetched."),
    ("delivered", "Its receiver has accepted it."),
    ("failed", "Its receiver has refused it, or couldn't be reached."),
    ("missed", "The round closed without what it asks for."),
    ("withdrawn", "It doesn't count: the receiver was removed, or the attempt is over."),
]


def tell_states(apps, schema_editor):
    """Give each message the state that its times and its error say.

    In one update: after a second one PostgreSQL would not alter the table in this transaction.
    """
    rows = apps.get_model("fl_server_core", "Notification").objects
    missed = Q(failed_at__isnull=False, error=CLOSED)
    rows.update(
        state=Case(
            When(withdrawn_at__isnull=False, then=Value("withdrawn")),
            When(missed, then=Value("missed")),
            When(failed_at__isnull=False, then=Value("failed")),
            When(delivered_at__isnull=False, then=Value("delivered")),
            default=Value("pending"),
        ),
        failed_at=Case(When(missed, then=None), default="failed_at"),
        error=Case(When(missed, then=Value("", models.TextField())), default="error"),
    )


def tell_times(apps, schema_editor):
    """Give back the times that states were told by."""
    rows = apps.get_model("fl_server_core", "Notification").objects
    rows.filter(state="withdrawn").update(withdrawn_at=Now())
    rows.filter(state="missed").update(failed_at=Now(), error=CLOSED)


class Migration(migrations.Migration):
    dependencies = [("fl_server_core", "0009_token")]

    operations = [
        migrations.AddField(
            "notification",
            "state",
            models.CharField(choices=STATES, default="pending", max_length=9),
        ),
        migrations.RemoveConstraint("notification", "nobody_is_told_twice"),
        migrations.RemoveIndex("notification", "notification_due"),
        migrations.RunPython(tell_states, tell_times),
        migrations.RemoveField("notification", "withdrawn_at"),
        migrations.AddConstraint(
            "notification",
            models.UniqueConstraint(
                condition=~Q(state="withdrawn"),
                fields=("training", "receiver", "type", "round", "attempt"),
                name="nobody_is_told_twice",
            ),
        ),
        migrations.AddIndex(
            "notification",
            models.Index(
                condition=Q(state="pending"), fields=["next_attempt_at"], name="notification_due"
            ),
        ),
    ]
