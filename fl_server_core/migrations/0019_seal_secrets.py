"""Secrets that stand readable in users' rows are encrypted; taken back, they are readable again.

Apart from the migration before, because PostgreSQL alters no table whose rows the same transaction
has changed.
"""

from django.db import migrations

from fl_server_core.models.sealed import Sealed, unseal


def seal(apps, schema_editor):
    """Store each as what it reads as, which encrypts it."""
    _change(apps, str)


def open_again(apps, schema_editor):
    """Store what it opens to as if it were encrypted; empty where no known secret key opens it."""
    _change(apps, lambda stored: Sealed(unseal(stored)))


def _change(apps, changed):
    users = apps.get_model("fl_server_core", "User").objects
    rows = users.exclude(notification_secret="").values_list("pk", "notification_secret")
    for pk, stored in list(rows):
        users.filter(pk=pk).update(notification_secret=changed(stored))


class Migration(migrations.Migration):
    dependencies = [("fl_server_core", "0018_sealed_secret")]

    operations = [migrations.RunPython(seal, open_again)]
