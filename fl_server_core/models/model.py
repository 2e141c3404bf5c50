"""Models: one table with a kind; their files lie in the storage."""

import uuid
from typing import Any, ClassVar, Self

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from fl_server_core.audit import record_act
from fl_server_core.compiled import compiled, first
from fl_server_core.files import indexes_by_name, let_go
from fl_server_core.models.act import ActCode
from fl_server_core.models.training import Training
from fl_server_core.models.user import User


class ModelKind(models.TextChoices):
    """What a row stands for."""

    GLOBAL = "GLOBAL", "global"
    SWAG = "SWAG", "global, made for SWAG"
    MEAN = "MEAN", "mean of several models"
    LOCAL = "LOCAL", "a participant's update"


class ModelQuerySet(models.QuerySet["Model"]):
    """Which models somebody sees."""

    def visible(self) -> Self:
        """Leave out the updates whose round is over: their rows are records without a file."""
        return self.filter(closed_at=None)

    def readable_by(self, user: User) -> Self:
        """Keep what this user may look at: own models and those of own trainings."""
        trainings = Training.objects.involving(user).values("pk")
        averaged = Model.objects.filter(kind=ModelKind.MEAN, owner=user).values("members")
        return self.visible().filter(
            Q(owner=user)
            | Q(training__in=trainings)
            | Q(base_model__training__in=trainings)
            | Q(pk__in=averaged)
        )

    def usable_by(self, user: User) -> Self:
        """Keep what this user may download and ask for predictions.

        Others' updates tell something about their data, so only a training's actor may have them,
        and its participants in a daisy chain, which sends them round.
        """
        return self.readable_by(user).filter(
            Q(base_model=None)
            | Q(owner=user)
            | Q(base_model__training__actor=user)
            | Q(base_model__training__options__daisy_chain_period__gt=1)
        )

    def listed_for(self, user: User) -> Self:
        """Keep own models and the global models of own trainings."""
        owned = Model.objects.visible().filter(owner=user).order_by().values("pk")
        trained = Training.objects.involving(user).order_by().values("model")
        return self.visible().filter(pk__in=owned.union(trained))  # no index serves an OR


class Model(models.Model):
    """A global model, or a participant's update to one.

    Files never change: other content is another file, under another name. `sha256` and
    `size` belong to `file`. A MEAN model has members instead of a file. An update's row
    outlives its file and then records what went into its round.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=6, choices=ModelKind, default=ModelKind.GLOBAL)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=255, blank=True)
    description = models.TextField(blank=True)
    round = models.PositiveIntegerField(default=0)
    input_shape = models.JSONField(
        null=True, blank=True, help_text="Sizes per dimension; null matches any size."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    file = models.FileField(blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    weights_only = models.BooleanField(
        default=False, editable=False, help_text="Its file holds no code: it can't be called."
    )
    preprocessing_file = models.FileField(blank=True)
    preprocessing_sha256 = models.CharField(max_length=64, blank=True)
    preprocessing_size = models.PositiveBigIntegerField(default=0)
    serving_file = models.FileField(
        blank=True, help_text="Code that predicts with weights alone; nobody downloads it."
    )
    serving_size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")

    swag_first_moment = models.FileField(
        blank=True, help_text="Mean of the weights over the participants' training."
    )
    swag_second_moment = models.FileField(blank=True, help_text="Mean of the squared weights.")
    server_state = models.FileField(
        blank=True, editable=False, help_text="What the aggregation strategy remembers."
    )

    members = models.ManyToManyField(
        "self", symmetrical=False, blank=True, related_name="mean_models"
    )

    base_model = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="local_models"
    )
    attempt = models.PositiveIntegerField(default=0)
    sample_size = models.PositiveBigIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(2**63 - 1)]
    )
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Its round was over then.")
    merged_into = models.ForeignKey(
        "fl_server_core.Checkpoint",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="updates",
        help_text="The version of the global model that it is part of.",
    )

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        permissions = [("upload_code", "Can upload models that carry code")]
        indexes = [
            # Of records there are the more the longer a training goes on; these leave them out.
            models.Index(
                fields=["owner", "created_at"],
                condition=Q(closed_at=None) | ~Q(file=""),
                name="model_of_owner",
            ),
            models.Index(
                fields=["base_model", "round"], condition=Q(closed_at=None), name="update_open"
            ),
            models.Index(fields=["base_model", "round"], condition=~Q(file=""), name="update_kept"),
            *indexes_by_name(
                "model",
                "file",
                "preprocessing_file",
                "serving_file",
                "swag_first_moment",
                "swag_second_moment",
                "server_state",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["base_model", "round", "attempt", "owner"],
                condition=Q(kind=ModelKind.LOCAL),
                name="one_update_per_participant",
            ),
            models.CheckConstraint(
                condition=Q(kind=ModelKind.LOCAL, base_model__isnull=False)
                | (~Q(kind=ModelKind.LOCAL) & Q(base_model=None)),
                name="only_updates_have_a_base_model",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.get_kind_display()} {self.id}"

    @property
    def global_model(self) -> "Model":
        """The model itself, or the one that it is an update to."""
        return self.base_model or self

    def find_training(self) -> Training | None:
        """Return the training that the model, or its base model, is trained in."""
        training = first(_trainings_of(self.global_model.pk))
        if training is not None:
            training.model = self.global_model  # as it is here: it needn't be read again
        return training


@compiled
def _trainings_of(model: uuid.UUID) -> models.QuerySet[Training]:
    return Training.objects.filter(model=model).order_by()


class KindManager(models.Manager.from_queryset(ModelQuerySet)):  # type: ignore[misc]  # built at run time
    """Sees rows of some kinds; creates rows of the first of them."""

    def __init__(self, *kinds: ModelKind) -> None:
        super().__init__()
        self.kinds = kinds

    def get_queryset(self) -> ModelQuerySet:  # noqa: D102
        queryset: ModelQuerySet = super().get_queryset().filter(kind__in=self.kinds)
        return queryset

    def create(self, **fields: Any) -> Any:  # noqa: D102
        return super().create(kind=self.kinds[0], **fields)


class GlobalModel(Model):
    """What trainings train; of any kind but LOCAL."""

    objects: ClassVar[Any] = KindManager(ModelKind.GLOBAL, ModelKind.SWAG, ModelKind.MEAN)

    class Meta:
        proxy = True


class SWAGModel(Model):
    """A global model uploaded for SWAG."""

    objects: ClassVar[Any] = KindManager(ModelKind.SWAG)

    class Meta:
        proxy = True
        verbose_name = "SWAG model"


class MeanModel(Model):
    """The mean of its members' predictions; it has no file."""

    objects: ClassVar[Any] = KindManager(ModelKind.MEAN)

    class Meta:
        proxy = True


class LocalModel(Model):
    """A participant's update to a global model, for one round and attempt."""

    objects: ClassVar[Any] = KindManager(ModelKind.LOCAL)

    class Meta:
        proxy = True


def clone_model(model: Model) -> Model:
    """Store and return a copy at round 0, of the same owner, with the same files."""
    clone = Model.objects.create(
        kind=model.kind,
        owner=model.owner,
        name=model.name,
        description=model.description,
        input_shape=model.input_shape,
        file=model.file.name,
        sha256=model.sha256,
        size=model.size,
        weights_only=model.weights_only,
        preprocessing_file=model.preprocessing_file.name,
        preprocessing_sha256=model.preprocessing_sha256,
        preprocessing_size=model.preprocessing_size,
        serving_file=model.serving_file.name,
        serving_size=model.serving_size,
    )
    clone.members.set(model.members.all())
    record_act(ActCode.MODEL_COPIED, clone, of=str(model.pk), name=model.name)
    return clone


def close_updates(updates: ModelQuerySet, *, keep_from: int | None = None) -> None:
    """Let go of the files of updates, except of later rounds; the rows stay as records.

    `keep_from` is the first round whose files stay; None keeps no file.
    """
    updates.filter(closed_at=None).update(closed_at=Now())
    lost = updates.exclude(file="")
    if keep_from is not None:
        lost = lost.filter(round__lt=keep_from)
    let_go(lost.values_list("file", flat=True))
    lost.update(file="")
