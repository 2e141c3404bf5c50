"""Tokens as digest and ciphertext; those of rest_framework.authtoken are taken over.

Taken back, users have no tokens, and the table of the former app has to be restored from a backup.
"""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from fl_server_core.models.token import stored_form

OLD = "authtoken_token"


def take_over(apps, schema_editor):
    """Move the tokens that stand readable in the old table, and drop that."""
    connection = schema_editor.connection
    if OLD not in connection.introspection.table_names():
        return
    token = apps.get_model("fl_server_core", "Token")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA secure_delete = ON")  # or their bytes would stay in the file
        cursor.execute(f"SELECT user_id, key FROM {OLD}")  # noqa: S608 (a constant)
        token.objects.bulk_create(
            token(user_id=uuid.UUID(str(user)), **stored_form(key))
            for user, key in cursor.fetchall()
        )
        cursor.execute(f"DROP TABLE {OLD}")


class Migration(migrations.Migration):
    dependencies = [("fl_server_core", "0008_upload_code")]

    operations = [
        migrations.CreateModel(
            name="Token",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="auth_token",
                        serialize=False,
                        to="fl_server_core.user",
                    ),
                ),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("encrypted", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RunPython(take_over, migrations.RunPython.noop),
    ]
