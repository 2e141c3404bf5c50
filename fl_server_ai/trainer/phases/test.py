"""The participants test a new global model."""

from fl_server_ai.trainer.phases.base import Phase
from fl_server_core.models import Metric, User
from fl_server_core.models.metric import MetricQuerySet
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import PhaseName


class TestPhase(Phase):
    """Metrics of the global model are asked for; the round ends with them."""

    name = PhaseName.TEST
    request = NotificationType.MODEL_TEST_ROUND
    answered_by = "reporter"
    numbered_by = "step"

    def given_ever(self) -> MetricQuerySet:
        """Return the metrics of the global model."""
        metrics: MetricQuerySet = Metric.objects.filter(model=self.training.model_id)
        return metrics

    def check_report(self, user: User) -> None:
        """Raise if the user's metrics on the global model are none that its round has asked for.

        Where a sample was asked to test the model in its present round, others don't report on it;
        its owner always may.
        """
        training = self.training
        if training.sample_target is None or training.model.owner_id == user.pk:
            return
        asked = training.notifications.standing().filter(
            type=self.request, round=training.round, attempt=training.attempt
        )
        if asked.exists() and not asked.filter(receiver=user).exists():
            raise self.not_asked()
