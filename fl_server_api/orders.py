"""Orders to trainings: whoever gives one, by the API, on a page or in admin, gives it here.

Who may is asked before: by the API's permissions, of which pages ask too, or by admin's.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django import forms

from fl_server_ai.trainer import ModelTrainer
from fl_server_core import removal
from fl_server_core.models import Checkpoint, Training, User
from fl_server_core.models.training import TrainingState
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


def stop(training: Training, user: User) -> None:
    """Stop a training, whatever other orders were given: what counts is to resume it."""
    with ModelTrainer.locked(training.pk) as trainer:
        trainer.stop(by=user)


def remove_participants(training: Training, user: User, gone: Collection[User]) -> None:
    """Take users out. Who leaves by itself always may: coming back is a change that counts."""
    leaves = {one.pk for one in gone} == {user.pk}
    with ModelTrainer.locked(training.pk) if leaves else ordered(training, user) as trainer:
        trainer.remove_participants(gone)


# --- What an order is told -----------------------------------------------------------


class OrderForm(forms.Form):
    """What an order has to be told: by itself nothing."""

    def __init__(self, training: Training, *sent: Any) -> None:
        super().__init__(*sent)
        self.training = training

    @property
    def about(self) -> str:
        """What was told, once it is valid: goes on from the order's label."""
        return ""


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic only in the stubs
    """A version of a model, by its round."""

    def label_from_instance(self, version: Any) -> str:  # noqa: D102
        return f"round {version.round}, attempt {version.attempt}, {version.created_at:%F %R}"


class RollBackForm(OrderForm):
    """Which version to go back to."""

    checkpoint = VersionField(Checkpoint.objects.none(), label="Version")

    def __init__(self, training: Training, *sent: Any) -> None:
        super().__init__(training, *sent)
        versions = training.model.checkpoints.stored().order_by("-created_at")
        self.fields["checkpoint"].queryset = versions  # type: ignore[attr-defined]

    @property
    def about(self) -> str:  # noqa: D102 (the base's)
        return f" to the version of round {self.cleaned_data['checkpoint'].round}"


class RemovalForm(OrderForm):
    """Whom to take out."""

    participants = forms.ModelMultipleChoiceField(User.objects.none())

    def __init__(self, training: Training, *sent: Any) -> None:
        super().__init__(training, *sent)
        users = training.participants.order_by("username")
        self.fields["participants"].queryset = users  # type: ignore[attr-defined]

    @property
    def about(self) -> str:  # noqa: D102 (the base's)
        return f": {_names(self.cleaned_data['participants'])}"


class AddingForm(OrderForm):
    """Who is to take part."""

    names = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        label="User names",
        max_length=20_000,  # SQLite would refuse a query for many more names
        help_text="With spaces, commas or lines between them.",
    )

    def clean_names(self) -> list[User]:
        """Return who is called so."""
        names = set(split(self.cleaned_data["names"]))
        users = list(User.objects.filter(username__in=names).order_by("username"))
        if unknown := names - {user.username for user in users}:
            raise forms.ValidationError(f"Nobody is called {', '.join(sorted(unknown)[:NAMED])}.")
        return users

    @property
    def about(self) -> str:  # noqa: D102 (the base's)
        return f": {_names(self.cleaned_data['names'])}"


NAMED = 10
"""Users that a sentence names."""


def split(text: str) -> list[str]:
    """Return the names in a field for several, with spaces, commas or lines between them."""
    return text.replace("\0", "").replace(",", " ").split()


def _names(users: Collection[User]) -> str:
    names = [user.username for user in users]
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join(names[:NAMED] + more) or "nobody"


# --- How it is carried out -----------------------------------------------------------

Said = Mapping[str, Any]


def _start(training: Training, user: User, _: Said) -> str:
    with ordered(training, user) as trainer:
        trainer.start()
    return "The training has started."


def _stop(training: Training, user: User, _: Said) -> str:
    stop(training, user)
    return "The training is stopped."


def _resume(training: Training, user: User, _: Said) -> str:
    with ordered(training, user) as trainer:
        trainer.resume()
    return "The training goes on."


def _notify(training: Training, user: User, _: Said) -> str:
    with ordered(training, user) as trainer:
        return f"Notified again: {trainer.ask_again()}."


def _add(training: Training, _: User, said: Said) -> str:
    with ModelTrainer.locked(training.pk) as trainer:
        trainer.add_participants(said["names"])
    return f"Added: {_names(said['names'])}."


def _remove(training: Training, user: User, said: Said) -> str:
    remove_participants(training, user, said["participants"])
    return f"Removed: {_names(said['participants'])}."


def _roll_back(training: Training, user: User, said: Said) -> str:
    with ordered(training, user) as trainer:
        trainer.roll_back(said["checkpoint"].pk)
    return f"The training goes on from its version of round {said['checkpoint'].round}."


def _delete(training: Training, _: User, __: Said) -> str:
    removal.remove_training(training)
    return "The training is removed; its model stays."


# --- Which there are -----------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """What can be done to a training in some states.

    `carry_out` returns what was done, and raises FLError with the reason why not, or
    Training.DoesNotExist. Where there are `words`, they are said and it is asked before; a `grave`
    order loses something.
    """

    label: str
    states: Collection[TrainingState]
    carry_out: Callable[[Training, User, Said], str]
    words: str = ""
    grave: bool = False
    form: type[OrderForm] = OrderForm

    @property
    def is_told_something(self) -> bool:
        """Whether it is about more than the whole training."""
        return self.form is not OrderForm


RUNNING = (TrainingState.ONGOING, TrainingState.SWAG_ROUND)
BEGUN = (*RUNNING, TrainingState.ERROR, TrainingState.COMPLETED)
ANY = tuple(TrainingState)

ORDERS = {
    "start": Order("Start", [TrainingState.INITIAL], _start),
    "resume": Order("Resume", [TrainingState.ERROR], _resume),
    "notify": Order("Notify again", RUNNING, _notify),
    "add": Order(
        "Add participants",
        ANY,
        _add,
        "A running training asks them from its next round on.",
        form=AddingForm,
    ),
    "stop": Order(
        "Stop",
        RUNNING,
        _stop,
        "A merge under way is dropped, and nobody is asked any more. It can be resumed.",
        grave=True,
    ),
    "remove": Order(
        "Remove participants",
        ANY,
        _remove,
        "They are told so, and the present round goes on without them.",
        grave=True,
        form=RemovalForm,
    ),
    "rollback": Order(
        "Roll back",
        BEGUN,
        _roll_back,
        "The training goes on from there; no answer given so far counts, but later versions stay.",
        grave=True,
        form=RollBackForm,
    ),
    "delete": Order(
        "Delete",
        ANY,
        _delete,
        "What is known of its calls goes along. That can't be undone. Its model stays.",
        grave=True,
    ),
}
"""By the name that their address has."""
