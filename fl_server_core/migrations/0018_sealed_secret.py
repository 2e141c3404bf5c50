"""Room for secrets that are encrypted; the next migration encrypts them."""

import fl_server_core.models.sealed
import fl_server_core.models.user
from django.db import migrations


def overwrite_what_is_freed(apps, schema_editor):
    """Leave no readable secret in the file, whose tables are made anew by what follows."""
    if schema_editor.connection.vendor == "sqlite":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = ON")


class Migration(migrations.Migration):
    dependencies = [("fl_server_core", "0017_phase_names")]

    operations = [
        migrations.RunPython(overwrite_what_is_freed, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="user",
            name="notification_secret",
            field=fl_server_core.models.sealed.SealedField(
                blank=True,
                help_text="Signs what is posted to `message_endpoint`, as Standard Webhooks does: 24 to 64 random bytes in base64, with or without `whsec_` before them. Never shown again.",
                max_length=128,
                validators=[fl_server_core.models.user.validate_secret],
            ),
        ),
    ]
