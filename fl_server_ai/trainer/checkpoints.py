"""What a training has been through: versions of its model, and the metrics of each."""

from collections.abc import Collection, Sequence

from django.conf import settings
from django.db.models import Avg, F

from fl_server_core.files import StoredFile, let_go, names_in
from fl_server_core.models import Checkpoint, Metric, Model, Training
from fl_server_core.models.notification import NotificationType
from fl_server_core.options import MetricGoal

FILES = ("file", "swag_first_moment", "swag_second_moment", "server_state")


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
    versions = model.checkpoints.filter(round=model.round).order_by("-attempt")
    versions.filter(pk__in=versions.values("pk")[:1]).update(
        swag_first_moment=model.swag_first_moment.name,
        swag_second_moment=model.swag_second_moment.name,
    )


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
    """Return a metric's mean over those who were asked for it, by round, oldest first.

    Of these rounds, or of all so far, which takes the longer the more there are.
    """
    asked = {
        "reporter__notifications__training": training,
        "reporter__notifications__type": NotificationType.MODEL_TEST_ROUND,
        "reporter__notifications__round": F("step"),
        "reporter__notifications__attempt": F("attempt"),
    }
    reported = Metric.objects.current().filter(
        model=training.model_id, key=name, value_float__isnull=False, step__lte=training.round
    )
    if rounds is not None:
        reported = reported.filter(step__in=rounds)
    means = reported.filter(**asked).values("step").annotate(mean=Avg("value_float"))
    return dict(means.order_by("step").values_list("step", "mean"))


def _best_round(
    training: Training, wanted: MetricGoal | None, rounds: Collection[int]
) -> int | None:
    if not wanted:
        return None
    means = metric_means(training, wanted.metric, rounds)
    return max(means, key=lambda step: wanted.sign * means[step], default=None)
