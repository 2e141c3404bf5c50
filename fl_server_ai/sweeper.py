"""Looking for what is due and has nobody on it: lost hints, run-out leases, retries."""

from contextlib import suppress

from fl_server_ai import notifier
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Training


def sweep() -> None:
    """Judge every running training anew and start what the outbox owes."""
    for training_id in Training.objects.running().values_list("pk", flat=True):
        with suppress(Training.DoesNotExist), ModelTrainer.locked(training_id) as trainer:
            trainer.judge()
    notifier.dispatch()
