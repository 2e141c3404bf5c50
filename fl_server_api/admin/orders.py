"""What operators tell a training to do: the same functions as the API's, one entry an order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms

from fl_server_ai.trainer import ModelTrainer
from fl_server_core.exceptions import FLError
from fl_server_core.models import Checkpoint, Training, User
from fl_server_core.models.training import TrainingState
from fl_server_core.throttles import STEERINGS


class OrderForm(forms.Form):
    """What an order has to be told: by itself nothing."""

    def __init__(self, training: Training, *args: Any) -> None:
        super().__init__(*args)
        self.training = training


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic only in the stubs
    """A version of a model, by its round."""

    def label_from_instance(self, version: Any) -> str:  # noqa: D102
        return f"round {version.round}, attempt {version.attempt}, {version.created_at:%F %R}"


class RollBackForm(OrderForm):
    """Which version to go back to."""

    version = VersionField(Checkpoint.objects.none())

    def __init__(self, training: Training, *args: Any) -> None:
        super().__init__(training, *args)
        versions = training.model.checkpoints.stored().order_by("-created_at")
        self.fields["version"].queryset = versions  # type: ignore[attr-defined]


class RemovalForm(OrderForm):
    """Whom to take out."""

    participants = forms.ModelMultipleChoiceField(User.objects.none())

    def __init__(self, training: Training, *args: Any) -> None:
        super().__init__(training, *args)
        users = training.participants.order_by("username")
        self.fields["participants"].queryset = users  # type: ignore[attr-defined]


def _start(trainer: ModelTrainer, _: Mapping[str, Any]) -> str:
    trainer.start()
    return "Started: its participants are notified."


def _stop(trainer: ModelTrainer, _: Mapping[str, Any]) -> str:
    trainer.stop()
    return "Stopped."


def _resume(trainer: ModelTrainer, _: Mapping[str, Any]) -> str:
    trainer.resume()
    return f"Resumed in round {trainer.training.round}."


def _notify(trainer: ModelTrainer, _: Mapping[str, Any]) -> str:
    return f"Notified again: {trainer.ask_again()}."


def _roll_back(trainer: ModelTrainer, said: Mapping[str, Any]) -> str:
    trainer.roll_back(said["version"].pk)
    return f"Rolled back to round {said['version'].round}."


def _remove(trainer: ModelTrainer, said: Mapping[str, Any]) -> str:
    trainer.remove_participants(said["participants"])
    return f"Removed: {', '.join(user.username for user in said['participants'])}."


@dataclass(frozen=True)
class Order:
    """Something to tell a training in one of these states.

    `destroys` says what is lost by it, and is asked before; `give` returns what was done.
    """

    label: str
    give: Callable[[ModelTrainer, Mapping[str, Any]], str]
    states: tuple[TrainingState, ...]
    destroys: str = ""
    form: type[OrderForm] = OrderForm


RUNNING = (TrainingState.ONGOING, TrainingState.SWAG_ROUND)
BEGUN = (*RUNNING, TrainingState.COMPLETED, TrainingState.ERROR)

ORDERS = {
    "start": Order("Start", _start, (TrainingState.INITIAL,)),
    "notify": Order("Notify again", _notify, RUNNING),
    "resume": Order("Resume", _resume, (TrainingState.ERROR,)),
    "stop": Order(
        "Stop",
        _stop,
        RUNNING,
        destroys="A merge under way is dropped, and nobody is asked any more. It can be resumed.",
    ),
    "roll_back": Order(
        "Roll back",
        _roll_back,
        BEGUN,
        destroys="No answer given so far counts any more, and the training goes on from there.",
        form=RollBackForm,
    ),
    "remove": Order(
        "Remove participants",
        _remove,
        (TrainingState.INITIAL, *BEGUN),
        destroys="They are told so, and what they gave to the present round no longer counts.",
        form=RemovalForm,
    ),
}


def give(order: Order, *, user: User, training: UUID, said: Mapping[str, Any]) -> str:
    """Give an order, counted as the API's are; return what was done.

    Raises FLError with the reason why not.
    """
    STEERINGS.take(f"user {user.pk}")
    try:
        with ModelTrainer.locked(training) as trainer:
            return order.give(trainer, said)
    except Training.DoesNotExist as error:
        raise FLError("It is gone.") from error
