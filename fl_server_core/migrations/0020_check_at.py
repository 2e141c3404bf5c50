"""Renames `judge_at` to `check_at`; the index is made anew, because it names the field."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fl_server_core', '0019_seal_secrets'),
    ]

    operations = [
        migrations.RemoveIndex(model_name='training', name='training_due'),
        migrations.RenameField(model_name='training', old_name='judge_at', new_name='check_at'),
        migrations.AlterField(
            model_name='training',
            name='check_at',
            field=models.DateTimeField(blank=True, help_text='When it is checked at the latest; null: now.', null=True),
        ),
        migrations.AddIndex(
            model_name='training',
            index=models.Index(condition=models.Q(('state__in', ['O', 'S'])), fields=['check_at'], name='training_due'),
        ),
    ]
