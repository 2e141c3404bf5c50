"""Indexes for what is looked for among many rows; lists get an order without ties.

On PostgreSQL each index is built in one go, while its table can be read but not written to.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fl_server_core', '0020_check_at'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='checkpoint',
            options={'ordering': ['created_at', 'id']},
        ),
        migrations.AlterModelOptions(
            name='model',
            options={'ordering': ['created_at', 'id'], 'permissions': [('upload_code', 'Can upload models that carry code')]},
        ),
        migrations.AlterModelOptions(
            name='notification',
            options={'ordering': ['created_at', 'sequence', 'id']},
        ),
        migrations.AlterModelOptions(
            name='training',
            options={'ordering': ['created_at', 'id']},
        ),
        migrations.RemoveConstraint(
            model_name='notification',
            name='nobody_is_told_twice',
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(condition=models.Q(('file', ''), _negated=True), fields=['file'], name='checkpoint_file'),
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(condition=models.Q(('swag_first_moment', ''), _negated=True), fields=['swag_first_moment'], name='checkpoint_swag_first_moment'),
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(condition=models.Q(('swag_second_moment', ''), _negated=True), fields=['swag_second_moment'], name='checkpoint_swag_second_moment'),
        ),
        migrations.AddIndex(
            model_name='checkpoint',
            index=models.Index(condition=models.Q(('server_state', ''), _negated=True), fields=['server_state'], name='checkpoint_server_state'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('closed_at', None), models.Q(('file', ''), _negated=True), _connector='OR'), fields=['owner', 'created_at'], name='model_of_owner'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('closed_at', None)), fields=['base_model', 'round'], name='update_open'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('file', ''), _negated=True), fields=['base_model', 'round'], name='update_kept'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('file', ''), _negated=True), fields=['file'], name='model_file'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('preprocessing_file', ''), _negated=True), fields=['preprocessing_file'], name='model_preprocessing_file'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('swag_first_moment', ''), _negated=True), fields=['swag_first_moment'], name='model_swag_first_moment'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('swag_second_moment', ''), _negated=True), fields=['swag_second_moment'], name='model_swag_second_moment'),
        ),
        migrations.AddIndex(
            model_name='model',
            index=models.Index(condition=models.Q(('server_state', ''), _negated=True), fields=['server_state'], name='model_server_state'),
        ),
        migrations.AddIndex(
            model_name='moments',
            index=models.Index(condition=models.Q(('first', ''), _negated=True), fields=['first'], name='moments_first'),
        ),
        migrations.AddIndex(
            model_name='moments',
            index=models.Index(condition=models.Q(('second', ''), _negated=True), fields=['second'], name='moments_second'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['receiver', 'created_at'], name='notification_pending'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['training', 'sequence'], name='notification_sequence'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'withdrawn'), _negated=True), fields=('training', 'round', 'attempt', 'type', 'receiver'), name='nobody_is_told_twice'),
        ),
    ]
