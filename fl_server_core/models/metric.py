"""Metrics that participants and owners report on models."""

import math
from collections.abc import Iterable
from typing import Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Length

from fl_server_core.exceptions import QuotaReached
from fl_server_core.models.model import Model
from fl_server_core.models.user import User

MetricValue = str | bytes | float
MAX_NAMES = 10_000
"""Of one reporter in one round of a model: as many as one request may hold. Values that are no
numbers may have as many bytes as one request, because all of them are shown in one answer."""


class MetricQuerySet(models.QuerySet["Metric"]):
    """Which metrics count."""

    def current(self) -> Self:
        """Leave out what was reported before the same step was gone through again."""
        # Its last one; not that there is none later, which PostgreSQL compares each with each for.
        reported = Metric.objects.filter(model=OuterRef("model"), step=OuterRef("step"))
        return self.filter(attempt=Subquery(reported.order_by("-attempt").values("attempt")[:1]))


class Metric(models.Model):
    """One value under one name; a finite number, or else the bytes that were sent."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="metrics")
    identifier = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 (null by contract)
    key = models.CharField(max_length=255)
    value_float = models.FloatField(null=True, blank=True)
    value_binary = models.BinaryField(null=True, blank=True)
    step = models.PositiveIntegerField(help_text="The model's round when this was reported.")
    attempt = models.PositiveIntegerField(default=0)
    reporter = models.ForeignKey(User, on_delete=models.CASCADE, related_name="metrics")
    created_at = models.DateTimeField(auto_now_add=True)  # or, of a replaced one, when that came

    objects = MetricQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "step", "attempt", "reporter", "key"],
                name="one_value_per_round_reporter_and_key",
            ),
            models.CheckConstraint(
                condition=Q(value_float=None) ^ Q(value_binary=None), name="one_kind_of_value"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.model_id} at {self.step}"


def record_metrics(
    *, model: Model, reporter: User, metrics: Iterable[tuple[str, MetricValue]], attempt: int = 0
) -> None:
    """Store values under the model's current round; one's own under the same name is replaced.

    What parses as a finite number becomes a number; anything else, nan and inf too, bytes. Raises
    QuotaReached, and stores none, when there would be too many names, or too much text.
    """
    latest = dict(metrics)  # one statement can't write the same row twice
    if not latest:
        return
    with transaction.atomic():
        _store(model, reporter, latest, attempt)
        given = Metric.objects.filter(
            model=model, step=model.round, attempt=attempt, reporter=reporter
        )
        many = given.aggregate(names=Count("pk"), size=Sum(Length("value_binary")))
        if many["names"] > MAX_NAMES:
            raise QuotaReached(f"You may report {MAX_NAMES} metrics on a model in one round.")
        most = settings.FL_MAX_BODY_BYTES
        if (many["size"] or 0) > most:
            raise QuotaReached(f"Metrics on a model in one round may have {most} bytes of text.")


def _store(model: Model, reporter: User, values: dict[str, MetricValue], attempt: int) -> None:
    Metric.objects.bulk_create(
        [
            Metric(
                model=model,
                reporter=reporter,
                step=model.round,
                attempt=attempt,
                key=key,
                **_stored(value),
            )
            for key, value in values.items()
        ],
        update_conflicts=True,
        unique_fields=["model", "step", "attempt", "reporter", "key"],
        update_fields=["value_float", "value_binary", "created_at"],
    )


def _stored(value: MetricValue) -> dict[str, float | bytes]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return {"value_float": number}
    return {"value_binary": value if isinstance(value, bytes) else str(value).encode()}
