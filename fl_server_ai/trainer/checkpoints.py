"""What a training has been through: versions of its model, and the metrics of each."""

from collections.abc import Collection, Sequence
from typing import Any

from django.conf import settings
from django.db.models import Avg, Count, F, FloatField, Q, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from fl_server_core.files import StoredFile, let_go, names_in
from fl_server_core.models import Checkpoint, Metric, Model, Training
from fl_server_core.models.checkpoint import CheckpointQuerySet
from fl_server_core.models.metric import MetricQuerySet
from fl_server_core.models.notification import NotificationType
from fl_server_core.options import MetricGoal

FILES = ("file", "swag_first_moment", "swag_second_moment", "server_state")

LARGEST = 1e100
"""A metric with a value beyond this has no mean: on its way to one PostgreSQL squares values, and
raises where that overflows."""

USUAL = Q(value_float__range=(-LARGEST, LARGEST))
SAMPLES = Cast("reporter__models__sample_size", FloatField())
PLAIN = Avg("value_float", filter=USUAL)
WEIGHTED = Sum(F("value_float") * SAMPLES, filter=USUAL) / Sum(SAMPLES, filter=USUAL)


def keep_checkpoint(
    training: Training, updates: Sequence[Model] = (), state: StoredFile | None = None
) -> None:
    """Note the model as it is now as the version that these updates made, with this state."""
    model = training.model
    checkpoint = Checkpoint.objects.create(
        model=model,
        round=model.round,
        attempt=training.attempt,
        file=model.file.name,
        sha256=model.sha256,
        size=model.size,
        server_state=state.name if state else "",
        server_state_size=state.size if state else 0,
    )
    Model.objects.filter(pk__in=[update.pk for update in updates]).update(merged_into=checkpoint)


def keep_moments(training: Training) -> None:
    """Note the model's SWAG moments with its present version."""
    model = training.model
    _present(model).update(
        swag_first_moment=model.swag_first_moment.name,
        swag_second_moment=model.swag_second_moment.name,
    )


def keep_means(training: Training) -> None:
    """Note each metric's means, over those who were asked for it, with the version just tested.

    In the weighted one they count by the samples of the updates that made the version; whoever has
    given none to it is left out.
    """
    asked = training.notifications.filter(
        type=NotificationType.MODEL_TEST_ROUND, round=training.round, attempt=training.attempt
    )
    reported = Metric.objects.filter(
        model=training.model_id,
        step=training.round,
        attempt=training.attempt,
        reporter__in=asked.values("receiver"),
        value_float__isnull=False,
    )
    version = _present(training.model)
    with_samples = reported.filter(
        reporter__models__merged_into__in=version.values("pk"), reporter__models__sample_size__gt=0
    )
    version.update(
        metric_means=_means(reported, PLAIN), weighted_means=_means(with_samples, WEIGHTED)
    )


def _means(reported: MetricQuerySet, mean: Combinable) -> dict[str, float]:
    found = reported.values("key").annotate(mean=mean, unusual=Count("pk", filter=~USUAL))
    return dict(found.filter(unusual=0).values_list("key", "mean"))


def _present(model: Model) -> CheckpointQuerySet:
    """Return the model's present version alone."""
    versions = model.checkpoints.filter(round=model.round).order_by("-attempt")
    present: CheckpointQuerySet = versions.filter(pk__in=versions.values("pk")[:1])
    return present


def last_versions(training: Training) -> list[Checkpoint]:
    """Return the versions of the newer half of all rounds, as far as they are stored, newest first.

    Of versions of the same or a later round, which a rollback has left behind, the newest attempt
    counts.
    """
    uploaded = training.model.checkpoints.order_by("attempt", "round")[0]
    middle = (uploaded.round + training.round) // 2
    versions: list[Checkpoint] = []
    newer = training.model.checkpoints.stored().filter(round__gt=middle)
    for version in newer.order_by("-attempt", "-round"):
        if not versions or version.round < versions[-1].round:
            versions.append(version)
    return versions


def restore(checkpoint: Checkpoint, model: Model) -> None:
    """Make a version that is still stored the present one."""
    model.round, model.sha256, model.size = checkpoint.round, checkpoint.sha256, checkpoint.size
    let_go(getattr(model, name).name for name in FILES)
    for name in FILES:
        setattr(model, name, getattr(checkpoint, name).name)
    model.save(update_fields=["round", "sha256", "size", *FILES])


def drop_checkpoints(training: Training) -> None:
    """Let go of the files of versions that nobody has asked to keep; their rows stay."""
    stored = list(training.model.checkpoints.stored().order_by("-attempt", "-round"))
    wanted = training.typed_options.checkpoints
    last, every = wanted.last or settings.FL_KEEP_CHECKPOINTS, wanted.every
    best = _best_round(training, wanted.best, {checkpoint.round for checkpoint in stored})
    kept = {checkpoint.pk for checkpoint in stored[: max(last, 1)]}
    kept |= {c.pk for c in stored if c.round == best or (every and c.round % every == 0)}
    dropped = training.model.checkpoints.stored().exclude(pk__in=kept)
    let_go(names_in(dropped))
    dropped.update(**dict.fromkeys(FILES, ""))


def metric_means(
    training: Training, name: str, rounds: Collection[int] | None = None
) -> dict[int, float]:
    """Return a metric's kept means by round, oldest first: of these rounds, or of all so far.

    Of versions of the same round the newest whose test has ended counts.
    """
    tested = training.model.checkpoints.filter(
        metric_means__isnull=False, round__lte=training.round
    )
    if rounds is not None:
        tested = tested.filter(round__in=rounds)
    rows = tested.order_by("round", "attempt").values_list("round", "metric_means")
    newest: dict[int, Any] = dict(rows)
    return {step: means[name] for step, means in newest.items() if name in means}


def _best_round(
    training: Training, wanted: MetricGoal | None, rounds: Collection[int]
) -> int | None:
    if not wanted:
        return None
    means = metric_means(training, wanted.metric, rounds)
    return max(means, key=lambda step: wanted.sign * means[step], default=None)
