"""The audit log, with triggers that refuse to change or to remove a row.

A later migration that has SQLite make this table anew has to make its triggers anew, too.
"""

import django.utils.timezone
import fl_server_core.models.act
from django.db import migrations, models

SQLITE = [
    f"""
    CREATE TRIGGER acts_stay_on_{what} BEFORE {what} ON fl_server_core_act
    BEGIN SELECT RAISE(ABORT, 'Rows of the audit log are neither changed nor removed.'); END
    """
    for what in ("update", "delete")
]
POSTGRESQL = [
    """
    CREATE FUNCTION fl_server_acts_stay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND current_setting('fl_server.forgets_acts', true) = 'on' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'Rows of the audit log are neither changed nor removed.';
    END $$
    """,
    """
    CREATE TRIGGER acts_stay BEFORE UPDATE OR DELETE ON fl_server_core_act
    FOR EACH ROW EXECUTE FUNCTION fl_server_acts_stay()
    """,
]


def make_triggers(apps, schema_editor):
    """Have the database keep what is there."""
    statements = POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE
    for statement in statements:
        schema_editor.execute(statement, params=None)


def remove_triggers(apps, schema_editor):
    """Let the table go, with which its triggers go."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION fl_server_acts_stay CASCADE", params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('fl_server_core', '0024_uploads'),
    ]

    operations = [
        migrations.CreateModel(
            name='Act',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(choices=fl_server_core.models.act.codes, max_length=40)),
                ('user_id', models.UUIDField(blank=True, null=True)),
                ('user_name', models.CharField(blank=True, max_length=150)),
                ('address', models.CharField(blank=True, max_length=64)),
                ('object_type', models.CharField(blank=True, max_length=32)),
                ('object_id', models.CharField(blank=True, max_length=64)),
                ('details', models.JSONField(blank=True, default=dict)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['pk'],
                'indexes': [models.Index(fields=['created_at'], name='act_created'), models.Index(fields=['object_id'], name='act_object'), models.Index(fields=['code'], name='act_code')],
            },
        ),
        migrations.RunPython(make_triggers, remove_triggers),
    ]
