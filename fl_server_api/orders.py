"""Orders to trainings: whoever gives one, by the API or on a page, gives it here."""

from collections.abc import Iterator
from contextlib import contextmanager

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Training, User
from fl_server_core.throttles import STEERINGS


@contextmanager
def ordered(training: Training, user: User) -> Iterator[ModelTrainer]:
    """Hold the training for an order of this user, who may do what it is.

    Orders count, so that nobody gives some without end that have others called. Raises TooMany, and
    Training.DoesNotExist if the training is gone.
    """
    STEERINGS.take(f"user {user.pk}")
    with ModelTrainer.locked(training.pk) as trainer:
        yield trainer
