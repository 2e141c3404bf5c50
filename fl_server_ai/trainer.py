"""What participants, actors and the outbox do to a training."""

import logging
from collections.abc import Iterable

from django.utils import timezone

from fl_server_ai import answers, notifier
from fl_server_ai.rounds import Rounds
from fl_server_ai.turnout import asks_now
from fl_server_core.files import StoredFile
from fl_server_core.models import Model, Notification, User
from fl_server_core.models.metric import MetricValue, record_metrics
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import TrainingState

logger = logging.getLogger(__name__)


class ModelTrainer(Rounds):
    """Takes what comes in for one training; each time its round is judged anew."""

    def receive_update(
        self,
        *,
        owner: User,
        round: int,
        sample_size: int,
        file: StoredFile,
        metrics: Iterable[tuple[str, MetricValue]] = (),
    ) -> Model | None:
        """Keep a participant's update for this round, in place of an earlier one.

        An update that comes while the model is still being tested counts when the round
        opens. None is returned for one that comes too late to count.
        """
        training = self.training
        answers.check_update(training, owner, round)
        update = answers.keep_update(training, owner, round, sample_size=sample_size, file=file)
        if update is None:
            return None
        update.metrics.all().delete()
        logger.info("training %s round %s: update of user %s", training.pk, round, owner.pk)
        self.receive_metrics(model=update, reporter=owner, metrics=metrics)
        return update

    def receive_moments(
        self, *, owner: User, round: int, sample_size: int, first: StoredFile, second: StoredFile
    ) -> None:
        """Keep a participant's SWAG moments, in place of earlier ones, until they are merged."""
        answers.check_moments(self.training, owner, round)
        answers.keep_moments(
            self.training, owner, sample_size=sample_size, first=first, second=second
        )
        self._touch()
        self.judge()

    def receive_metrics(
        self, *, model: Model, reporter: User, metrics: Iterable[tuple[str, MetricValue]]
    ) -> None:
        """Keep metrics on the global model, or on an update to it."""
        if model.pk == self.training.model_id:
            model = self.training.model  # its round as it is under the lock
            answers.check_report(self.training, reporter)
        record_metrics(
            model=model, reporter=reporter, metrics=metrics, attempt=self.training.attempt
        )
        self._touch()
        self.judge()

    def add_participants(self, users: Iterable[User]) -> None:
        """Let users take part; once the training has begun, from its next round on."""
        present = set(self.training.participants.values_list("pk", flat=True))
        new = [user for user in users if user.pk not in present]
        self.training.participants.add(*new)
        if self.training.state not in (TrainingState.INITIAL, TrainingState.COMPLETED):
            notifier.owe(self.training, NotificationType.TRAINING_START, new)

    def remove_participants(self, users: Iterable[User]) -> None:
        """Take users out and judge the round without them."""
        gone = list(self.training.participants.filter(pk__in=[user.pk for user in users]))
        self.training.participants.remove(*gone)
        self.training.notifications.filter(receiver__in=gone).withdraw()
        if self.training.state != TrainingState.INITIAL:
            notifier.owe(self.training, NotificationType.CLIENT_REMOVED, gone)
        self.judge()

    def give_up_on(self, notification: Notification, error: str, *, refused: bool) -> None:
        """Settle a message that its receiver refused or that can't be delivered.

        A refused call to the present round removes the participant, but for a call for SWAG's
        moments, which stock clients don't know; that and an undeliverable one lose it for this
        phase; no other message's fate has an effect.
        """
        if not Notification.objects.filter(pk=notification.pk).fail(error):
            return
        logger.warning(
            "training %s round %s: user %s %s %s: %s",
            notification.training_id,
            notification.round,
            notification.receiver_id,
            "refused" if refused else "wasn't reached by",
            notification.type,
            error,
        )
        removes = refused and notification.type != NotificationType.SWAG_ROUND_START
        if removes and asks_now(self.training, notification):
            self.remove_participants([notification.receiver])
        self.judge()

    def _touch(self) -> None:
        self.training.last_update = timezone.now()
        self.training.save(update_fields=["last_update"])
