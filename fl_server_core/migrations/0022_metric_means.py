"""Versions get the means of the metrics that they were tested with, in trainings under way as well.

And an index for whom a round has asked, also of those who take part no longer.
"""

from collections import defaultdict

from django.db import migrations, models
from django.db.models import Avg, Count, F, Q

LARGEST = 1e100


def keep_means(apps, schema_editor):
    """Give each version the means of its last test, over those who were asked for it."""
    metrics = apps.get_model("fl_server_core", "Metric").objects
    asked = {
        "reporter__notifications__training__model": F("model"),
        "reporter__notifications__type": "MODEL_TEST_ROUND",
        "reporter__notifications__round": F("step"),
        "reporter__notifications__attempt": F("attempt"),
    }
    usual = Q(value_float__range=(-LARGEST, LARGEST))
    means = metrics.filter(**asked).values_list("model", "step", "attempt", "key").annotate(
        mean=Avg("value_float", filter=usual),
        unusual=Count("pk", filter=Q(value_float__isnull=False) & ~usual),
    )
    tested = defaultdict(dict)
    for model, step, attempt, key, mean, unusual in means.order_by("attempt"):
        kept = tested[model, step, attempt]
        if mean is not None and not unusual:
            kept[key] = mean
    checkpoints = apps.get_model("fl_server_core", "Checkpoint").objects
    for (model, step, attempt), kept in tested.items():
        versions = checkpoints.filter(model=model, round=step, attempt__lte=attempt)
        newest = versions.order_by("-attempt").values("pk")[:1]
        versions.filter(pk__in=newest).update(metric_means=kept)


class Migration(migrations.Migration):
    dependencies = [("fl_server_core", "0021_indexes")]

    operations = [
        migrations.AddField(
            "checkpoint",
            "metric_means",
            models.JSONField(
                blank=True,
                help_text="The mean of each numeric metric by name; null until its test has ended.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            "notification",
            models.Index(fields=["training", "round", "attempt"], name="notification_round"),
        ),
        migrations.RunPython(keep_means, migrations.RunPython.noop),
    ]
