"""`manage.py ask_again`: after a restore, call the participants once more."""

from typing import Any

from django.core.management.base import BaseCommand

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Training


class Command(BaseCommand):
    """A restored database may lack answers that it has confirmed: they are asked for again."""

    help = "Notify all participants that a running training waits for, once more."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Go through the running trainings; repeating it does no harm."""
        for training_id in Training.objects.running().values_list("pk", flat=True):
            with ModelTrainer.locked(training_id) as trainer:
                count = trainer.ask_again()
            self.stdout.write(f"training {training_id}: {count} asked again")
